// Canvas helpers: theme colours, device pixels, and drawing of one token.

/** Create an element with properties and children. */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Return the colours of the current theme. */
function themeColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    paper: read("paper"), ink: read("ink"), soft: read("soft"), line: read("line"), wash: read("wash"),
    accent: read("accent"), bar: read("bar"),
  };
}

/** Blend two colours written as #rrggbb; share: that of the second, 0 to 1. */
function mix(one, two, share) {
  const part = (colour, place) => parseInt(colour.slice(1 + 2 * place, 3 + 2 * place), 16);
  return `rgb(${[0, 1, 2].map((place) => Math.round(part(one, place) * (1 - share) + part(two, place) * share))})`;
}

/** Resize a canvas to device pixels and clear it. Returns its context and its size in CSS pixels. */
function clearCanvas(canvas, height) {
  const scale = window.devicePixelRatio || 1;
  if (height !== undefined) canvas.style.height = `${height}px`;
  const width = canvas.clientWidth, tall = height === undefined ? canvas.clientHeight : height;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(tall * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return { context, width, height: tall };
}

const OVERLAY_ALPHA = { [DROPPED]: 0.97, [MERGED]: 0.86, [PRUNED]: 0.58 };

/** Draw one token over its part of the frame. back: frames between a merged token and its target, positive if earlier. */
function drawToken(context, x, y, width, height, state, back, colours) {
  if (state in OVERLAY_ALPHA) {
    context.globalAlpha = OVERLAY_ALPHA[state];
    context.fillStyle = colours.paper;
    context.fillRect(x, y, width, height);
    context.globalAlpha = 1;
    if (state === MERGED) drawMark(context, x + width / 2, y + height / 2, Math.min(width, height), back, colours.soft);
    return;
  }
  const side = Math.min(width, height);
  const line = state === RECALLED ? Math.max(1.5, side * 0.11) : Math.max(1, side * 0.07);
  if (state === RECALLED) {
    context.globalAlpha = 0.32;
    context.fillStyle = colours.accent;
    context.fillRect(x, y, width, height);
    context.globalAlpha = 1;
  }
  context.strokeStyle = colours.accent;
  context.lineWidth = line;
  context.strokeRect(x + line / 2, y + line / 2, width - line, height - line);
}

/** Draw lines between tokens, which keep the grid visible where no overlay is drawn. */
function drawGrid(context, xs, ys, colours) {
  context.globalAlpha = 0.4;
  context.fillStyle = colours.paper;
  for (const x of xs.slice(1, -1)) context.fillRect(x - 0.5, 0, 1, ys[ys.length - 1]);
  for (const y of ys.slice(1, -1)) context.fillRect(0, y - 0.5, xs[xs.length - 1], 1);
  context.globalAlpha = 1;
}

/** Divide a length at whole pixels; at fractions of pixels, adjacent overlays would leave seams. */
function edges(length, parts) {
  return Array.from({ length: parts + 1 }, (_, part) => Math.round((part * length) / parts));
}

/** Draw the target of a merged token: a dot for the same frame, one stroke per frame for 1 to 3 back, else an arrow. */
function drawMark(context, x, y, side, back, colour) {
  const tall = side * 0.36;
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = Math.max(0.9, side * 0.075);
  context.beginPath();
  if (back === 0) {
    context.arc(x, y, side * 0.1, 0, 7);
    context.fill();
    return;
  }
  if (back >= 1 && back <= 3) {
    for (let stroke = 0; stroke < back; stroke++) {
      const place = x + (stroke - (back - 1) / 2) * side * 0.2;
      context.moveTo(place, y - tall / 2);
      context.lineTo(place, y + tall / 2);
    }
  } else {
    const direction = back > 0 ? -1 : 1; // left is earlier
    context.moveTo(x - (direction * tall) / 4, y - tall / 2);
    context.lineTo(x + (direction * tall) / 4, y);
    context.lineTo(x - (direction * tall) / 4, y + tall / 2);
  }
  context.stroke();
}
