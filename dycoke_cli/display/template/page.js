// The state of the page (run, question, step), its rendering, and the event handlers.

const REPORT = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const PACE_MS = 420;
const chosen = { run: 0, question: 0, step: 0, timer: null };
let tiles = null;

const run = () => REPORT.runs[chosen.run];
const answer = () => run().answers[chosen.question];

/** Return the unpacked trace of an answer, or null; unpacked at the first call. */
function unpacked(of, from) {
  if (of.trace && !of.unpacked) {
    from.kept = from.kept || { prefill: unpackSet(from.prefill), merged_into: unpackIntegers(from.merged_into) };
    of.unpacked = { ...from.kept, sets: unpackSets(of.trace.sets), mass: unpackShares(of.trace.mass, REPORT.grid[0]) };
  }
  return of.unpacked || null;
}

function showQuestion() {
  const now = answer(), trace = unpacked(now, run()), steps = now.steps.read.length;
  get("question").textContent = now.question;
  get("answer").classList.toggle("long", now.answer.length > 160);
  const pieces = trace ? now.trace.pieces : [now.answer];
  const first = pieces.findIndex((piece) => piece.trim() !== "");
  get("answer").replaceChildren(...pieces.flatMap((piece, step) => {
    const text = piece.trimStart(), space = step > first ? piece.slice(0, piece.length - text.length) : "";
    const word = element("span", { textContent: text });
    if (trace) word.addEventListener("click", () => goTo(step));
    else word.className = "said";
    return [space, word];
  }));
  showOthers(now);
  showFacts(now);
  get("tokens").hidden = !trace;
  get("course").hidden = steps === 0;
  get("player").hidden = !trace || steps < 2;
  get("mass-figure").hidden = !trace;
  if (trace) {
    tiles = tiles || new Tiles(get("tiles"), REPORT, showToken);
    drawLegend(get("legend"), trace);
    showLeads(now);
  }
  get("step").max = Math.max(steps - 1, 0);
  showStepTable(now);
  showCost(REPORT, chosen.question);
  showSheets();
  // Start at the last word, so that the whole answer is shown.
  goTo(pieces.reduce((last, piece, step) => (piece.trim() ? step : last), 0));
}

function goTo(step) {
  const last = answer().steps.read.length - 1;
  chosen.step = Math.max(0, Math.min(step, last));
  get("step").value = chosen.step;
  showStep();
}

function showStep() {
  const now = answer(), trace = now.unpacked;
  if (trace) {
    [...get("answer").children].forEach((word, step) => {
      word.className = step === chosen.step && word.textContent.trim() ? "now" : step <= chosen.step ? "said" : "";
    });
    const states = statesAt(trace, chosen.step), counts = countStates(states, 0, states.length);
    tiles.show(trace, states);
    showCounts(now, counts);
  }
  [...(get("step-table").tBodies[0]?.rows || [])].forEach((row, step) => row.classList.toggle("now", step === chosen.step));
  drawCharts();
}

function showCounts(now, counts) {
  const last = now.steps.read.length - 1, step = chosen.step;
  const word = now.trace.pieces[step].trim() || (step === last ? "end" : "");
  const name = step === 0 ? "prefill" : `step ${step} of ${last}`;
  get("step").setAttribute("aria-valuetext", `${name}${word ? `, ${word}` : ""}`);
  get("step-name").replaceChildren(`${step} / ${last} `, element("b", { textContent: word }));
  const bold = (number) => element("b", { textContent: count(number) });
  const parts = [bold(counts[ACTIVE] + counts[RECALLED]), " active, ", bold(counts[RECALLED]), " of them recalled · ", bold(counts[PRUNED]), " pruned"];
  if (step === 0) parts.splice(1, 3, " read by the prefill · ");
  get("now").replaceChildren(...parts);
}

/** Show the state of a token as text. */
function showToken(token) {
  if (token === null) return void (get("token").textContent = "");
  const [, rows, cols] = REPORT.grid, perFrame = rows * cols, trace = answer().unpacked, state = statesAt(trace, chosen.step)[token];
  const place = (of) => `frame ${Math.floor(of / perFrame)}, row ${Math.floor((of % perFrame) / cols) + 1}, column ${(of % cols) + 1}`;
  const into = trace.merged_into[token], same = into % perFrame === token % perFrame;
  const others = trace.merged_into.reduce((sum, other) => sum + (other === token), 0) - 1;
  const description = {
    [DROPPED]: "dropped, not merged",
    [MERGED]: `merged into ${same ? `the same place of frame ${Math.floor(into / perFrame)}` : place(into)}`,
    [PRUNED]: "pruned: kept, not read now",
    [ACTIVE]: "active",
    [RECALLED]: "active, recalled",
  }[state];
  const represents = others > 0 && state >= PRUNED ? `; ${plural(others, "other token")} merged into it` : "";
  const text = place(token);
  get("token").textContent = `${text[0].toUpperCase()}${text.slice(1)}: ${description}${represents}.`;
}

function drawCharts() {
  if (get("course").hidden) return;
  const colours = themeColours(), now = answer();
  drawRead(get("read-chart"), now, chosen.step, colours);
  get("read-chart").setAttribute("aria-label", "Visual tokens read and recalled at each step; the figures are in the table below");
  if (!get("mass-figure").hidden) {
    drawMass(get("mass-chart"), now, REPORT.grid[0], chosen.step, colours);
    get("mass-chart").setAttribute("aria-label", `Attention by frame at each step, up to ${percent(now.trace.mass.peak)} of a step's attention for one frame`);
  }
}

function pause() {
  clearInterval(chosen.timer);
  chosen.timer = null;
  get("play").setAttribute("aria-label", "Play");
  get("play-shape").setAttribute("d", "M7 4.5v15l12-7.5z");
}

function play() {
  const last = answer().steps.read.length - 1;
  if (chosen.step >= last || !answer().trace.pieces.slice(chosen.step + 1).some((piece) => piece.trim())) goTo(0);
  chosen.timer = setInterval(() => (chosen.step < last ? goTo(chosen.step + 1) : pause()), PACE_MS);
  get("play").setAttribute("aria-label", "Pause");
  get("play-shape").setAttribute("d", "M6 5h4v14H6zm8 0h4v14h-4z");
}

function chartSteps(canvas) {
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    pause();
    goTo(columns(box.width, answer().steps.read.length).step(event.clientX - box.left));
  });
}

function chooseTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  get("theme-name").textContent = theme;
  redraw();
}

function redraw() {
  const trace = answer().unpacked;
  if (trace) {
    drawLegend(get("legend"), trace);
    tiles.drawShown();
  }
  drawCharts();
}

function offerChoices() {
  const traced = REPORT.runs.flatMap((one, place) => (one.answers.some((each) => each.trace) ? [place] : []));
  const shown = traced.length ? traced : REPORT.runs.map((_, place) => place);
  chosen.run = shown[0];
  get("run-choice").hidden = shown.length < 2;
  get("runs").replaceChildren(...shown.map((place) => {
    const input = element("input", { type: "radio", name: "run", checked: place === chosen.run });
    input.addEventListener("change", () => { pause(); chosen.run = place; showQuestion(); });
    return element("label", {}, input, element("span", { textContent: REPORT.runs[place].label }));
  }));
  const questions = run().answers.map((one, place) => element("option", { value: place, textContent: one.question }));
  get("question-choice").hidden = questions.length < 2;
  get("question").classList.toggle("repeated", questions.length > 1);
  get("questions").replaceChildren(...questions);
  get("questions").addEventListener("change", (event) => { pause(); chosen.question = Number(event.target.value); showQuestion(); });
}

function start() {
  get("subject").textContent = `${REPORT.video.path.split(/[\\/]/).pop()} · ${REPORT.model.name}`;
  get("command").textContent = REPORT.command;
  get("cost-lead").textContent = costLead();
  get("footer").textContent = `Made by dycoke ${REPORT.versions.dycoke} on ${REPORT.made.slice(0, 16).replace("T", " ")}. This file is self-contained and sends no requests.`;
  for (const id of ["hero", "cost", "again"]) get(id).hidden = false;
  offerChoices();
  showQuestion();
  get("step").addEventListener("input", (event) => { pause(); goTo(Number(event.target.value)); });
  get("step").addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    get("play").click();
  });
  get("play").addEventListener("click", () => (chosen.timer === null ? play() : pause()));
  chartSteps(get("read-chart"));
  chartSteps(get("mass-chart"));
  const after = { auto: "light", light: "dark", dark: "auto" };
  get("theme").addEventListener("click", () => chooseTheme(after[get("theme-name").textContent]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(drawCharts).observe(get("course"));
  get("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(REPORT.command);
    get("copy").textContent = "Copied";
    setTimeout(() => (get("copy").textContent = "Copy"), 1500);
  });
}

start();
