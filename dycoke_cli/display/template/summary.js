// The text and figures of the page outside its charts.

function showOthers(now) {
  const others = REPORT.runs.filter((other) => other !== run() && other.answers[chosen.question]);
  const theirs = (other) => other.answers[chosen.question].answer;
  const name = (text) => element("b", { textContent: text });
  const lines = others.filter((other) => theirs(other) !== now.answer).map((other) => [name(other.label), ` answered: ${theirs(other)}`]);
  const same = others.filter((other) => theirs(other) === now.answer).map((other) => other.label);
  if (same.length) lines.push([name(same.join(", ")), " gave the same answer."]);
  get("others").replaceChildren(...lines.map((line) => element("p", { className: "other" }, ...line)));
}

function showFacts(now) {
  const { tokens, steps, time_s: time, memory_bytes: memory } = now, later = steps.read.slice(1);
  const plain = REPORT.runs.find((other) => other.baseline && other !== run());
  const theirs = plain && plain.answers[chosen.question];
  const facts = [["Tokens into the model", count(tokens.visual_prefill), `${percent(tokens.visual_prefill / tokens.visual)} of ${count(tokens.visual)}`]];
  if (later.length) {
    const middle = [...later].sort((one, two) => one - two)[later.length >> 1];
    const reselected = steps.reselected.filter(Boolean).length;
    facts.push(["Read for a word", count(middle), `${percent(middle / tokens.visual)}, reselected ${reselected}×`]);
    facts.push(["Recalled", count(steps.recalled.reduce((sum, one) => sum + one, 0)), `over ${plural(later.length, "step")}`]);
  }
  facts.push(["KV cache", size(memory.kv), theirs ? `${size(theirs.memory_bytes.kv)} ${plain.label}` : ""]);
  facts.push(["Total time", seconds(time.total), theirs ? `${seconds(theirs.time_s.total)} ${plain.label}` : `first word after ${seconds(time.first_token)}`]);
  get("facts").replaceChildren(...facts.map(([name, value, note]) => element("div", {},
    element("dt", { textContent: name }), element("dd", {}, value, element("small", { textContent: note })))));
}

function showLeads(now) {
  const [frames, rows, cols] = REPORT.grid, { tokens, steps } = now;
  const observed = now.unpacked.mass.some((row) => row !== null);
  get("tokens-lead").textContent = `${plural(frames, "frame")} of ${rows} × ${cols} tokens. Play, or select a word, to see the tokens that each step reads.`;
  get("course-lead").textContent = "Step 0 is the prefill, which produces the first token. Each later step produces one more.";
  const pruned = steps.read.some((read) => read < steps.read[0]);
  get("read-note").textContent = `share of all ${count(tokens.visual)} visual tokens; recalled tokens are highlighted` + (pruned ? ". The first layers, which select, read all kept tokens." : ".");
  get("mass-figure").hidden = !observed;
  if (!observed) get("course-lead").textContent += " No attention was recorded, because this method does not use it.";
  get("mass-note").textContent = "share of the attention of one layer, mean over heads; not recorded during the prefill";
  get("ramp-top").textContent = percent(now.trace.mass.peak);
}

function showSheets() {
  const { method } = run(), sheet = (title, values) => element("div", {}, element("h3", { textContent: title }),
    element("dl", {}, ...Object.entries(values).flatMap(([key, value]) => [element("dt", { textContent: key }), element("dd", { textContent: value })])));
  get("sheets").replaceChildren(
    sheet("Method", { name: method.name, ...method.options }), sheet("Model", REPORT.model),
    sheet("Settings", REPORT.settings), sheet("Video", REPORT.video), sheet("Versions", REPORT.versions));
}

function costLead() {
  const plain = REPORT.runs.some((one) => one.baseline), repeats = Math.max(...REPORT.runs.map((one) => one.repeats));
  const how = repeats > 1 ? `Medians of ${repeats} runs` : "One run each";
  if (plain) return `${how}, on the same frames and in the same number format. Video decoding is shared. 2.00× means half of the uncompressed value.`;
  return "Measured in this run; nothing is estimated. Add --baseline to compare with an uncompressed run.";
}
