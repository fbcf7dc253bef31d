// The frames with their token grids.

class Tiles {
  /** Build one tile per frame. onPoint(token or null) is called when the pointed token changes. */
  constructor(root, report, onPoint) {
    [this.frames, this.rows, this.cols] = report.grid;
    this.perFrame = this.rows * this.cols;
    this.onPoint = onPoint;
    this.pointed = null;
    this.shown = new Set();
    root.style.setProperty("--shape", report.shape.join(" / "));
    this.tiles = report.frames.map((frame, number) => this.build(frame, number));
    root.replaceChildren(...this.tiles.map((tile) => tile.root));
    this.tiles[0].canvas.tabIndex = 0;
    // Only visible tiles are drawn, because a long video has hundreds of frames.
    const visibility = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const number = Number(entry.target.dataset.frame);
        if (entry.isIntersecting) this.shown.add(number);
        else this.shown.delete(number);
        if (entry.isIntersecting) this.draw(number);
      }
    }, { rootMargin: "200px" });
    this.tiles.forEach((tile) => visibility.observe(tile.root));
    new ResizeObserver(() => this.drawShown()).observe(root);
  }

  build(frame, number) {
    const image = element("img", { alt: "", src: frame.image });
    const canvas = element("canvas", { tabIndex: -1 });
    const picture = element("div", { className: "picture" }, image, canvas);
    const active = element("span", { className: "active" }), kept = element("span"), into = element("span", { className: "into" });
    const name = element("span", {}, element("b", { textContent: `${number}` }), ` · ${clock(frame.seconds)}`);
    const root = element("div", { className: "tile" }, picture, element("p", {}, name, active), element("p", {}, kept, into));
    root.dataset.frame = number;
    canvas.setAttribute("role", "img");
    canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && this.point(this.at(number, event)));
    canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.point(null));
    canvas.addEventListener("click", (event) => {
      const token = this.at(number, event);
      this.point(event.pointerType !== "mouse" && token === this.pointed ? null : token);
    });
    canvas.addEventListener("keydown", (event) => this.key(number, event));
    canvas.addEventListener("blur", () => this.point(null));
    return { root, canvas, active, kept, into };
  }

  at(frame, event) {
    const box = event.target.getBoundingClientRect();
    const col = Math.floor(((event.clientX - box.left) / box.width) * this.cols);
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.rows);
    const inside = (place, end) => Math.min(Math.max(place, 0), end - 1);
    return frame * this.perFrame + inside(row, this.rows) * this.cols + inside(col, this.cols);
  }

  /** Move the pointed token: by arrow keys within a frame, by page keys between frames. */
  key(frame, event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.cols, ArrowDown: this.cols, PageUp: -this.perFrame, PageDown: this.perFrame };
    if (event.key === "Escape") this.point(null);
    if (!(event.key in moves)) return;
    event.preventDefault();
    const start = this.pointed === null ? frame * this.perFrame : this.pointed + moves[event.key];
    const token = Math.min(Math.max(start, 0), this.frames * this.perFrame - 1);
    const canvas = this.tiles[Math.floor(token / this.perFrame)].canvas;
    if (canvas !== event.target) {
      event.target.tabIndex = -1;
      canvas.tabIndex = 0;
      canvas.focus();
    }
    this.point(token);
  }

  point(token) {
    if (token === this.pointed || !this.trace) return;
    const before = this.group;
    this.pointed = token;
    this.group = token === null ? [] : this.companions(token);
    const frames = new Set([...before, ...this.group].map((member) => Math.floor(member / this.perFrame)));
    frames.forEach((frame) => this.shown.has(frame) && this.draw(frame));
    this.tiles.forEach((tile, number) => tile.root.classList.toggle("target", this.target() === number));
    this.onPoint(token);
  }

  /** Return a token and all tokens that are merged with it into one cache slot. */
  companions(token) {
    const target = this.trace.merged_into[token];
    if (target < 0) return [token];
    const found = [];
    this.trace.merged_into.forEach((into, other) => into === target && found.push(other));
    return found;
  }

  /** Return the frame that the pointed token merged into, or null. */
  target() {
    if (this.pointed === null || this.states[this.pointed] !== MERGED) return null;
    return Math.floor(this.trace.merged_into[this.pointed] / this.perFrame);
  }

  /** Show the states of the tokens at a step. */
  show(trace, states) {
    if (trace !== this.trace) {
      this.trace = trace;
      this.pointed = null;
      this.group = [];
      this.tiles.forEach((tile, number) => this.describe(tile, number));
    }
    this.states = states;
    this.tiles.forEach((tile, number) => {
      const counts = countStates(states, number * this.perFrame, (number + 1) * this.perFrame);
      tile.active.textContent = `${counts[ACTIVE] + counts[RECALLED]} active`;
    });
    this.drawShown();
    if (this.pointed !== null) this.onPoint(this.pointed);
  }

  describe(tile, number) {
    let kept = 0;
    for (let token = number * this.perFrame; token < (number + 1) * this.perFrame; token++) kept += has(this.trace.prefill, token);
    const into = mergedFrom(this.trace, this.perFrame, number);
    tile.kept.textContent = `${kept} kept`;
    tile.into.textContent = into.slice(0, 2).map(([frame, tokens]) => `${tokens} → ${frame}`).join(", ") + (into.length > 2 ? " …" : "");
    const merged = into.map(([frame, tokens]) => `${tokens} merged into frame ${frame}`);
    tile.into.title = merged.join(", ");
    tile.canvas.setAttribute("aria-label", [`Frame ${number}: ${kept} tokens kept`, ...merged].join(", ") + ". Arrow keys show single tokens.");
  }

  drawShown() {
    this.shown.forEach((number) => this.draw(number));
  }

  draw(number) {
    if (!this.trace) return;
    const { context, width, height } = clearCanvas(this.tiles[number].canvas);
    const colours = themeColours(), first = number * this.perFrame;
    const xs = edges(width, this.cols), ys = edges(height, this.rows);
    const box = (token) => {
      const row = Math.floor((token - first) / this.cols), col = (token - first) % this.cols;
      return [xs[col], ys[row], xs[col + 1] - xs[col], ys[row + 1] - ys[row]];
    };
    drawGrid(context, xs, ys, colours);
    for (let token = first; token < first + this.perFrame; token++) {
      const back = number - Math.floor(this.trace.merged_into[token] / this.perFrame);
      drawToken(context, ...box(token), this.states[token], back, colours);
    }
    for (const token of this.group) {
      if (Math.floor(token / this.perFrame) !== number) continue;
      const [x, y, wide, tall] = box(token), strong = token === this.pointed || this.trace.merged_into[this.pointed] === token;
      for (const [line, colour] of [[strong ? 5 : 3, colours.paper], [strong ? 2.5 : 1.25, colours.ink]]) {
        context.lineWidth = line;
        context.strokeStyle = colour;
        context.strokeRect(x + 1, y + 1, wide - 2, tall - 2);
      }
    }
  }
}

/** Draw the legend of the tiles, with entries only for the states that occur. */
function drawLegend(root, trace) {
  const marks = new Set();
  let dropped = false;
  const [, rows, cols] = REPORT.grid;
  trace.merged_into.forEach((into, token) => {
    if (has(trace.prefill, token)) return;
    if (into < 0) dropped = true;
    else marks.add(Math.floor(token / (rows * cols)) - Math.floor(into / (rows * cols)));
  });
  const entries = [
    [ACTIVE, 0, "Active", "read for this word"],
    [RECALLED, 0, "Recalled", "active, but not at the step before"],
    [PRUNED, 0, "Pruned", "kept in the cache, not read now"],
  ];
  const near = [[0, "in the same frame"], [1, "one frame back"], [2, "two frames back"], [3, "three frames back"]];
  for (const [back, text] of near) if (marks.has(back)) entries.push([MERGED, back, "Merged", `into a token ${text}`]);
  if ([...marks].some((back) => back > 3)) entries.push([MERGED, 9, "Merged", "further back"]);
  if ([...marks].some((back) => back < 0)) entries.push([MERGED, -1, "Merged", "into a later frame"]);
  if (dropped) entries.push([DROPPED, 0, "Dropped", "removed, not merged"]);
  const colours = themeColours();
  const caption = element("li", { textContent: "Below a frame, 25 → 0 means that 25 of its tokens merged into frame 0" });
  root.replaceChildren(...entries.map(([state, back, name, text]) => {
    const canvas = element("canvas", {});
    canvas.setAttribute("aria-hidden", "true");
    requestAnimationFrame(() => {
      const { context, width, height } = clearCanvas(canvas);
      context.fillStyle = colours.bar;
      context.fillRect(0, 0, width, height);
      drawToken(context, 0, 0, width, height, state, back, colours);
    });
    return element("li", {}, canvas, element("span", {}, element("b", { textContent: name }), ` ${text}`));
  }), ...(marks.size ? [caption] : []));
}
