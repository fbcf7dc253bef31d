"use strict";
// Unpack the data of packing.py, compute token states, and format numbers. Pure functions without the page.

/** Decode base64 into bytes. */
function bytes(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** Unpack a set stored as a bit mask; has(set, number) tests membership. */
function unpackSet(text) {
  return bytes(text);
}

function has(set, number) {
  return ((set[number >> 3] >> (number & 7)) & 1) === 1;
}

/** Unpack consecutive sets; an empty text repeats the set before. */
function unpackSets(texts) {
  const sets = [];
  for (const text of texts) sets.push(text === "" ? sets[sets.length - 1] : unpackSet(text));
  return sets;
}

/** Unpack int32 numbers. */
function unpackIntegers(text) {
  const view = new DataView(bytes(text).buffer);
  return Int32Array.from({ length: view.byteLength / 4 }, (_, place) => view.getInt32(4 * place, true));
}

/** Unpack rows of `width` numbers each; null for a row without numbers. */
function unpackShares(packed, width) {
  const view = new DataView(bytes(packed.values).buffer);
  const value = (place) => (view.getUint16(2 * place, true) / 65535) * packed.peak;
  return packed.rows.map((row) =>
    row < 0 ? null : Float64Array.from({ length: width }, (_, place) => value(row * width + place))
  );
}

// States of a token at a step. A RECALLED token is active now and was not at the step before.
const DROPPED = 0, MERGED = 1, PRUNED = 2, ACTIVE = 3, RECALLED = 4;

/** Return the state of each token at `step`; trace: unpacked prefill, merged_into and sets. */
function statesAt(trace, step) {
  const now = trace.sets[step], before = step > 0 ? trace.sets[step - 1] : null;
  return Uint8Array.from(trace.merged_into, (into, token) => {
    if (!has(trace.prefill, token)) return into < 0 ? DROPPED : MERGED;
    if (!has(now, token)) return PRUNED;
    return before !== null && !has(before, token) ? RECALLED : ACTIVE;
  });
}

/** Count the tokens of each state in the range from `from` up to `to`. */
function countStates(states, from, to) {
  const counts = [0, 0, 0, 0, 0];
  for (let token = from; token < to; token++) counts[states[token]]++;
  return counts;
}

/** Return [target frame, count] of the merged tokens of a frame, largest count first. */
function mergedFrom(trace, perFrame, frame) {
  const into = new Map();
  for (let token = frame * perFrame; token < (frame + 1) * perFrame; token++) {
    const target = trace.merged_into[token];
    if (target < 0 || has(trace.prefill, token)) continue;
    const where = Math.floor(target / perFrame);
    into.set(where, (into.get(where) || 0) + 1);
  }
  return [...into].sort((one, two) => two[1] - one[1]);
}

/** Format seconds as panel.py does. */
function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 0.9995) return (value < 99.5 ? value.toFixed(2) : value.toFixed(0)) + " s";
  return (value >= 0.0095 ? (value * 1e3).toFixed(0) : (value * 1e3).toFixed(1)) + " ms";
}

/** Format bytes as panel.py does. */
function size(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let number = value, unit = 0;
  while (number >= 1000 && unit < units.length - 1) [number, unit] = [number / 1024, unit + 1];
  return unit ? `${number.toFixed(1)} ${units[unit]}` : `${value} B`;
}

function percent(share) {
  return `${(share * 100).toFixed(1)} %`;
}

function count(number) {
  return number.toLocaleString("en-GB");
}

function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** Format a time of the video: 1:04.2 */
function clock(value) {
  const tenths = Math.round(value * 10);
  const minutes = Math.floor(tenths / 600), rest = (tenths % 600) / 10;
  return `${minutes}:${rest.toFixed(1).padStart(4, "0")}`;
}
