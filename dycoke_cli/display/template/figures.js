// Charts over the steps, bars over the runs, and tables, of counted and measured figures only.

const LEFT = 46, RIGHT = 4, WIDEST = 72; // CSS pixels: margins of a chart, and the widest column

/** Return the horizontal layout of a chart: one column per step, the same in every chart of the page. */
function columns(width, steps) {
  const each = Math.min(WIDEST, (width - LEFT - RIGHT) / steps);
  return { each, x: (step) => LEFT + step * each, step: (x) => Math.min(Math.max(Math.floor((x - LEFT) / each), 0), steps - 1) };
}

/** Return n such that there is room for every n-th label. */
function stride(room, needed) {
  const least = needed / room;
  return [1, 2, 5, 10, 20, 25, 50, 100, 200, 500].find((every) => every >= least) || 1000;
}

/** Set the font, colour and alignment of chart labels. */
function font(context, colours, align) {
  context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  context.fillStyle = colours.soft;
  context.textAlign = align;
  context.textBaseline = "middle";
}

/** Draw the labels of the steps below a chart: words if they fit, else numbers. */
function stepLabels(context, across, pieces, steps, y, current, colours) {
  font(context, colours, "center");
  const words = pieces !== null && across.each >= 30;
  const every = words ? 1 : stride(across.each, 26);
  for (let step = 0; step < steps; step += every) {
    let text = words ? pieces[step].trim() || (step === steps - 1 ? "end" : "·") : `${step}`;
    while (text.length > 2 && context.measureText(text).width > across.each * every - 4) text = text.replace(/.…?$/u, "…");
    context.fillStyle = step === current ? colours.ink : colours.soft;
    context.fillText(text, across.x(step) + across.each / 2, y);
  }
}

/** Draw the share of visual tokens that each step read, and the share that it recalled. */
function drawRead(canvas, answer, step, colours) {
  const { read, recalled } = answer.steps, total = answer.tokens.visual, steps = read.length;
  const height = 170, bottom = height - 26, top = 10;
  const { context, width } = clearCanvas(canvas, height);
  const across = columns(width, steps), most = Math.max(...read, 1) / total;
  const mark = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5].find((share) => most / share <= 4) || 0.5;
  const y = (share) => bottom - (share / most) * (bottom - top);
  for (let share = 0; share <= most * 1.001; share += mark) {
    context.fillStyle = colours.line;
    context.fillRect(LEFT, y(share), across.each * steps, 1);
    font(context, colours, "right");
    context.fillText(`${Math.round(share * 100)} %`, LEFT - 8, y(share));
  }
  const gap = across.each > 6 ? Math.min(4, across.each * 0.18) : 0.5;
  read.forEach((tokens, number) => {
    const x = across.x(number) + gap / 2, wide = across.each - gap;
    context.fillStyle = number === step ? mix(colours.bar, colours.ink, 0.45) : colours.bar;
    context.fillRect(x, y(tokens / total), wide, bottom - y(tokens / total));
    context.fillStyle = colours.accent;
    context.fillRect(x, y(recalled[number] / total), wide, bottom - y(recalled[number] / total));
  });
  stepLabels(context, across, answer.trace && answer.trace.pieces, steps, height - 11, step, colours);
}

/** Draw the share of attention on each frame at each step. */
function drawMass(canvas, answer, frames, step, colours) {
  const rows = answer.unpacked.mass, steps = rows.length, peak = answer.trace.mass.peak || 1;
  const tall = Math.max(6, Math.min(20, Math.floor(440 / frames)));
  const height = frames * tall + 34;
  const { context, width } = clearCanvas(canvas, height);
  const across = columns(width, steps), every = stride(tall, 15), gap = across.each > 8 && tall > 8 ? 1 : 0;
  for (let frame = 0; frame < frames; frame++) {
    for (let number = 0; number < steps; number++) {
      const share = rows[number] === null ? null : Math.sqrt(rows[number][frame] / peak);
      context.fillStyle = share === null ? colours.paper : mix(colours.wash, colours.accent, share);
      context.fillRect(across.x(number), 4 + frame * tall, across.each - gap, tall - gap);
    }
    if (frame % every === 0) {
      font(context, colours, "right");
      context.fillText(`${frame}`, LEFT - 8, 4 + (frame + 0.5) * tall);
    }
  }
  context.strokeStyle = colours.ink;
  context.lineWidth = 1.5;
  context.strokeRect(across.x(step) - 0.5, 3, across.each + 1 - gap, frames * tall + 2 - gap);
  stepLabels(context, across, answer.trace.pieces, steps, height - 12, step, colours);
}

const PHASES = [
  ["decode_video", "video decoding", "--bar"],
  ["vision", "vision", "--bar-soft"],
  ["prefill", "prefill", "--accent"],
  ["decode", "decode", "--accent-mid"],
];

/** Return bars on one scale, one per row: [name, [[value, colour], ...], label]. */
function bars(title, rows) {
  const whole = Math.max(...rows.map(([, parts]) => parts.reduce((sum, [value]) => sum + value, 0))) || 1;
  return [
    ...(title ? [element("h3", { textContent: title })] : []),
    ...rows.flatMap(([name, parts, label]) => {
      const track = element("span", { className: "track" });
      for (const [value, colour] of parts) {
        if (!value) continue;
        const part = element("i");
        part.style.width = `${(value / whole) * 100}%`;
        part.style.background = `var(${colour})`;
        track.append(part);
      }
      track.setAttribute("aria-hidden", "true");
      return [element("span", { className: "name", textContent: name }), track, element("span", { className: "value", textContent: label })];
    }),
  ];
}

/** Show time and memory of each run. */
function showCost(report, question) {
  const runs = report.runs.map((run) => ({ run, answer: run.answers[question] })).filter(({ answer }) => answer);
  const time = runs.map(({ run, answer }) => [run.label, PHASES.map(([key, , colour]) => [answer.time_s[key] || 0, colour]), seconds(answer.time_s.total)]);
  document.getElementById("time-bars").replaceChildren(...bars("", time));
  document.getElementById("time-legend").replaceChildren(...PHASES.filter(([key]) => runs.some(({ answer }) => answer.time_s[key])).map(([, name, colour]) => {
    const key = element("i");
    key.style.background = `var(${colour})`;
    return element("li", {}, key, name);
  }));
  const memory = [["kv", "KV cache"], ["peak_above_weights", "Peak above weights"]].flatMap(([key, title]) => {
    const rows = runs.filter(({ answer }) => answer.memory_bytes[key] !== null);
    return rows.length ? bars(title, rows.map(({ run, answer }) => {
      const colour = run.baseline ? "--bar" : "--accent";
      return [run.label, [[answer.memory_bytes[key], colour]], size(answer.memory_bytes[key])];
    })) : [];
  });
  document.getElementById("memory-bars").replaceChildren(...memory);
  costTable(runs);
}

function costTable(runs) {
  const plain = runs.find(({ run }) => run.baseline);
  const rows = [
    ["Visual tokens into the model", (answer) => answer.tokens.visual_prefill, count],
    ["New tokens", (answer) => answer.tokens.generated, count],
    ["Video decoding", (answer) => answer.time_s.decode_video, seconds],
    ["Vision", (answer) => answer.time_s.vision, seconds],
    ["Prefill", (answer) => answer.time_s.prefill, seconds],
    ["First token", (answer) => answer.time_s.first_token, seconds],
    ["Per token", (answer) => answer.time_s.per_token, seconds],
    ["Total", (answer) => answer.time_s.total, seconds],
    ["Weights", (answer) => answer.memory_bytes.weights, size],
    ["KV cache", (answer) => answer.memory_bytes.kv, size],
    ["Peak above weights", (answer) => answer.memory_bytes.peak_above_weights, size],
  ];
  const compared = new Set(["Visual tokens into the model", "Vision", "Prefill", "First token", "Per token", "Total", "KV cache", "Peak above weights"]);
  const head = element("tr", {}, element("th", { scope: "col" }), ...runs.map(({ run }) => element("th", { scope: "col", textContent: run.label })));
  const body = rows.map(([name, read, write]) => element("tr", {}, element("th", { scope: "row", textContent: name }), ...runs.map(({ run, answer }) => {
    const cell = element("td", { textContent: write(read(answer)) });
    if (plain && !run.baseline && compared.has(name) && read(answer) && read(plain.answer)) {
      const gain = read(plain.answer) / read(answer);
      cell.append(element("small", { textContent: `${gain.toFixed(2)}×`, className: gain > 1.005 ? "gain" : "" }));
    }
    return cell;
  })));
  document.getElementById("cost-table").replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
}

/** Show the figures of every step as a table, the accessible alternative to the charts. */
function showStepTable(answer) {
  const { read, recalled, reselected } = answer.steps, pieces = answer.trace && answer.trace.pieces;
  const names = ["Step", "Text", "Read", "Share of all", "Recalled", "Reselected"];
  const head = element("tr", {}, ...names.map((name) => element("th", { scope: "col", textContent: name })));
  const body = read.map((tokens, step) => element("tr", {},
    element("th", { scope: "row", textContent: step === 0 ? "0, prefill" : `${step}` }),
    element("td", { textContent: pieces ? pieces[step].trim() : "" }),
    element("td", { textContent: count(tokens) }),
    element("td", { textContent: percent(tokens / answer.tokens.visual) }),
    element("td", { textContent: count(recalled[step]) }),
    element("td", { textContent: reselected[step] ? "yes" : "" })));
  document.getElementById("step-table").replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
}
