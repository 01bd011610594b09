// Indices run to the patient's right, front and head. Pictures follow the radiological convention,
// in which rows and columns run the other way.
const PLANES = {
  axial: { normal: 2, across: 0, up: 1, sides: ["R", "L", "A", "P"] },
  coronal: { normal: 1, across: 0, up: 2, sides: ["R", "L", "S", "I"] },
  sagittal: { normal: 0, across: 1, up: 2, sides: ["A", "P", "S", "I"] },
};
const ZOOMS = [1, 2, 4, 8];
const NO_ERROR = 24;
const SCALE_BARS_MM = [1, 2, 5, 10, 20, 50, 100, 200];
// Fingers that move this much further apart or closer double or halve the zoom.
const PINCH = 1.6;

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const VIEWS = data.views;
const state = { volumes: null, case: null, plane: "axial", at: [0, 0, 0], width: 400, level: 40 };

function add(parent, tag, attributes = {}, text = "") {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return parent.appendChild(element);
}

// Voxels

async function unpack(id) {
  const packed = Uint8Array.from(atob(byId(id).textContent), (c) => c.charCodeAt(0));
  const inflated = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(inflated).arrayBuffer());
  const count = bytes.length / 2;
  const values = new Int16Array(count);
  for (let n = 0, last = 0; n < count; n++) {
    const folded = bytes[n] | (bytes[count + n] << 8);
    last = ((last + ((folded >> 1) ^ -(folded & 1))) << 16) >> 16;
    values[n] = last;
  }
  return values;
}

// The original and, where there is one, its reconstruction.
function unpackLayers(shown, text) {
  const ids = Array.from({ length: shown.layers }, (_, n) => `hu-${shown.place}-${text + n}`);
  return Promise.all(ids.map(unpack));
}

async function load(number) {
  const shown = data.cases[number];
  byId("viewer").setAttribute("aria-busy", "true");
  const volume = await unpackLayers(shown, shown.volume.text);
  const whole = await Promise.all(shown.slices.map((slice) => unpackLayers(shown, slice.text)));
  const latent = shown.latent ? await unpackLatent(shown) : null;
  Object.assign(state, { case: shown, volumes: { volume, whole }, latent });
  state.at = [...(shown.worst ?? shown.middle)];
  byId("case").value = number;
  listWholeSlices();
  listChannels();
  moveToPlane(state.plane);
  byId("viewer").setAttribute("aria-busy", "false");
}

function sampledCount(axis) {
  const { shape, volume } = state.case;
  return Math.ceil((shape[axis] - volume.offset[axis]) / volume.step[axis]);
}

function sampledIndex(axis, n) {
  return state.case.volume.offset[axis] + n * state.case.volume.step[axis];
}

function nearestSample(axis, index) {
  const n = Math.round((index - state.case.volume.offset[axis]) / state.case.volume.step[axis]);
  return Math.min(Math.max(n, 0), sampledCount(axis) - 1);
}

// Indices along the normal at which there is a slice, in rising order.
function slicesOf(plane) {
  const { normal } = PLANES[plane];
  const found = new Set(state.case.slices.filter((s) => s.plane === plane).map((s) => s.index));
  for (let n = 0; n < sampledCount(normal); n++) found.add(sampledIndex(normal, n));
  return [...found].sort((a, b) => a - b);
}

// How to walk through the voxels of the slice that is shown.
function slice() {
  const { normal, across, up } = PLANES[state.plane];
  const { shape, volume, slices } = state.case;
  const whole = slices.findIndex((s) => s.plane === state.plane && s.index === state.at[normal]);
  if (whole >= 0) {
    const size = [shape[across], shape[up]];
    return {
      values: state.volumes.whole[whole], why: slices[whole].why, size, first: 0,
      stride: [1, shape[across]], step: [1, 1], offset: [0, 0],
    };
  }
  const count = [0, 1, 2].map(sampledCount);
  const stride = [1, count[0], count[0] * count[1]];
  return {
    values: state.volumes.volume, why: null, size: [count[across], count[up]],
    first: nearestSample(normal, state.at[normal]) * stride[normal],
    stride: [stride[across], stride[up]], step: [volume.step[across], volume.step[up]],
    offset: [volume.offset[across], volume.offset[up]],
  };
}

// Pictures

function paint(canvas, shown, colour) {
  const [wide, tall] = shown.size;
  canvas.width = wide;
  canvas.height = tall;
  const context = canvas.getContext("2d");
  const image = context.createImageData(wide, tall);
  for (let j = tall - 1, pixel = 0; j >= 0; j--) {
    let n = shown.first + j * shown.stride[1] + (wide - 1) * shown.stride[0];
    for (let i = wide - 1; i >= 0; i--, n -= shown.stride[0], pixel += 4) {
      colour(image.data, pixel, n, i, j);
    }
  }
  context.putImageData(image, 0, 0);
}

// Functions that write the pixel of voxel n, which is column i and row j of the slice.
function painters(shown) {
  const low = state.level - state.width / 2;
  const scale = 255 / state.width;
  const limit = errorLimit();
  const [original, result] = shown.values;
  const grey = (pixels, at, hu) => {
    pixels[at] = pixels[at + 1] = pixels[at + 2] = (hu - low) * scale;
    pixels[at + 3] = 255;
  };
  const signed = (pixels, at, n) => {
    const error = Math.min(Math.max((result[n] - original[n]) / limit, -1), 1);
    const far = Math.abs(error);
    pixels[at] = NO_ERROR + 231 * Math.max(error, 0);
    pixels[at + 1] = NO_ERROR + 126 * far;
    pixels[at + 2] = NO_ERROR + 231 * Math.max(-error, 0);
    pixels[at + 3] = 255;
  };
  return {
    original: (pixels, at, n) => grey(pixels, at, original[n]),
    reconstruction: (pixels, at, n) => grey(pixels, at, result[n]),
    error: signed,
    latent: (pixels, at, n) => grey(pixels, at, original ? original[n] : -Infinity),
  };
}

function errorLimit() {
  return Math.max(Number(byId("limit").value) || 100, 1);
}

function draw() {
  if (!state.case) return;
  const shown = slice();
  const axes = PLANES[state.plane];
  const mm = [axes.across, axes.up].map((axis, n) => state.case.spacing[axis] * shown.step[n]);
  // The voxel that the crosshair is on, counted within the slice that is shown.
  const [i, j] = [axes.across, axes.up].map((axis, n) => {
    const place = Math.round((state.at[axis] - shown.offset[n]) / shown.step[n]);
    return Math.min(Math.max(place, 0), shown.size[n] - 1);
  });
  const cross = [(shown.size[0] - i - 0.5) / shown.size[0], (shown.size[1] - j - 0.5) / shown.size[1]];
  const colours = painters(shown);
  if (state.latent) colours.latent = overlaid(shown, colours.latent);
  for (const view of VIEWS) {
    const canvas = byId(`view-${view}`);
    paint(canvas, shown, colours[view]);
    canvas.setAttribute("aria-label", describe(view));
    arrange(canvas, shown, mm, cross);
  }
  readOut(shown, i, j);
  say(shown);
}

function describe(view) {
  const { normal } = PLANES[state.plane];
  const scale = {
    error: () => `up to ${errorLimit()} HU either way`,
    latent: latentScale,
  }[view]?.() ?? `window ${state.width}/${state.level} HU`;
  return `${view}, ${state.plane} slice ${state.at[normal] + 1} of ${state.case.shape[normal]}, ${scale}`;
}

function arrange(canvas, shown, [mm, mmUp], cross) {
  const frame = canvas.parentElement;
  const { sides } = PLANES[state.plane];
  const aspect = (shown.size[0] * mm) / (shown.size[1] * mmUp);
  const zoom = Number(byId("zoom").value);
  const size = [100 * zoom * Math.min(1, aspect), 100 * zoom * Math.min(1, 1 / aspect)];
  const start = size.map((length, n) =>
    length <= 100 ? (100 - length) / 2 : Math.min(0, Math.max(100 - length, 50 - cross[n] * length)));
  Object.assign(frame.style, {
    width: `${size[0]}%`, height: `${size[1]}%`, left: `${start[0]}%`, top: `${start[1]}%`,
  });
  drawScaleBar(frame.parentElement, (shown.size[0] * mm) / size[0]);
  frame.querySelector(".down").style.left = `${100 * cross[0]}%`;
  frame.querySelector(".across").style.top = `${100 * cross[1]}%`;
  const enlarged = frame.clientWidth * window.devicePixelRatio >= shown.size[0];
  canvas.style.imageRendering = enlarged ? "pixelated" : "auto";
  frame.parentElement.querySelectorAll(".side").forEach((side, n) => { side.textContent = sides[n]; });
}

// A bar of a round length that fills at most a third of the stage.
function drawScaleBar(stage, mmPerPercent) {
  const fitting = SCALE_BARS_MM.filter((length) => length <= 33 * mmPerPercent);
  const length = fitting.at(-1) ?? SCALE_BARS_MM[0];
  const bar = stage.querySelector(".scale");
  bar.style.width = `${length / mmPerPercent}%`;
  bar.textContent = length < 10 ? `${length} mm` : `${length / 10} cm`;
}

const signedText = (value, digits = 0) => value.toFixed(digits).replace("-", "\u2212");

function readOut(shown, i, j) {
  const { normal, across, up } = PLANES[state.plane];
  const n = shown.first + i * shown.stride[0] + j * shown.stride[1];
  const [original, result] = shown.values.map((values) => values[n]);
  const texts = {
    original: () => signedText(original),
    reconstruction: () => signedText(result),
    error: () => signedText(result - original),
    latent: () => latentText(voxel),
  };
  const voxel = [0, 0, 0];
  voxel[normal] = state.at[normal];
  voxel[across] = shown.offset[0] + i * shown.step[0];
  voxel[up] = shown.offset[1] + j * shown.step[1];
  for (const view of VIEWS) byId(`value-${view}`).textContent = texts[view]();
  byId("voxel").textContent = voxel.join(", ");
  byId("position").textContent = state.case.affine.map((row, axis) => {
    const mm = row[3] + voxel.reduce((sum, index, a) => sum + index * row[a], 0);
    return `${"LPI RAS".charAt(mm < 0 ? axis : axis + 4)} ${Math.abs(mm).toFixed(1)}`;
  }).join(", ");
}

function say(shown) {
  const { normal } = PLANES[state.plane];
  const list = slicesOf(state.plane);
  byId("slice").max = list.length - 1;
  byId("slice").value = list.indexOf(state.at[normal]);
  const place = `${state.at[normal] + 1} of ${state.case.shape[normal]}`;
  byId("slice").setAttribute("aria-valuetext", place);
  byId("place").textContent = place;
  const step = state.case.volume.step;
  const sampled = `Sampled: one of every ${step.join(" \u00d7 ")} voxels, none averaged.`;
  const every = "Every voxel, whole HU.";
  byId("resolution").textContent = shown.why
    ? `${every} Chosen for: ${shown.why.join(", ")}.`
    : step.every((s) => s === 1) ? every : sampled;
  for (const button of document.querySelectorAll("[data-plane]")) {
    button.setAttribute("aria-pressed", String(button.dataset.plane === state.plane));
  }
  const preset = data.windows.findIndex((w) => w.width === state.width && w.level === state.level);
  byId("window").value = preset < 0 ? "" : preset;
  if (document.activeElement !== byId("width")) byId("width").value = state.width;
  if (document.activeElement !== byId("level")) byId("level").value = state.level;
  const ends = [-1, 1].map((side) => signedText(state.level + (side * state.width) / 2));
  const scales = {
    error: () => `blue \u2212${errorLimit()}, orange +${errorLimit()} HU`,
    latent: latentScale,
  };
  for (const view of VIEWS) {
    byId(`scale-${view}`).textContent = scales[view]?.() ?? `${ends[0]} to ${ends[1]} HU`;
  }
  const whole = state.case.slices.findIndex((s) => s.plane === state.plane && s.index === state.at[normal]);
  byId("whole").value = whole < 0 ? "" : whole;
}

// What the reader does

function moveToPlane(plane) {
  state.plane = plane;
  const { normal } = PLANES[plane];
  const near = (a, b) => (Math.abs(b - state.at[normal]) < Math.abs(a - state.at[normal]) ? b : a);
  state.at[normal] = slicesOf(plane).reduce(near);
  draw();
}

function moveTo(at) {
  state.at = [...at];
  moveToPlane(state.plane);
}

function scroll(by) {
  const { normal } = PLANES[state.plane];
  const list = slicesOf(state.plane);
  const n = list.indexOf(state.at[normal]) + by;
  state.at[normal] = list[Math.min(Math.max(n, 0), list.length - 1)];
  draw();
}

function nudge(right, up) {
  const axes = PLANES[state.plane];
  const shown = slice();
  [[axes.across, -right], [axes.up, up]].forEach(([axis, by], n) => {
    const place = Math.round((state.at[axis] - shown.offset[n]) / shown.step[n]) + by;
    const kept = Math.min(Math.max(place, 0), shown.size[n] - 1);
    state.at[axis] = shown.offset[n] + kept * shown.step[n];
  });
  draw();
}

function setWindow(width, level) {
  state.width = Math.max(1, Math.round(width));
  state.level = Math.round(level);
  draw();
}

function usePreset(number) {
  const preset = data.windows[number];
  if (preset) setWindow(preset.width, preset.level);
}

function zoomOn() {
  const next = (ZOOMS.indexOf(Number(byId("zoom").value)) + 1) % ZOOMS.length;
  byId("zoom").value = ZOOMS[next];
  draw();
}

function zoomBy(steps) {
  const next = ZOOMS.indexOf(Number(byId("zoom").value)) + steps;
  byId("zoom").value = ZOOMS[Math.min(Math.max(next, 0), ZOOMS.length - 1)];
  draw();
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function switchTheme() {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
}

function nameTheme() {
  const next = isDark() ? "Light" : "Dark";
  byId("theme").textContent = next;
  byId("theme").setAttribute("aria-label", `${next} colours`);
}

function aim(event, frame) {
  const box = frame.getBoundingClientRect();
  const axes = PLANES[state.plane];
  const shown = slice();
  const place = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  [axes.across, axes.up].forEach((axis, n) => {
    const seen = Math.floor(Math.min(Math.max(place[n], 0), 1) * shown.size[n]);
    const kept = Math.max(shown.size[n] - 1 - seen, 0);
    state.at[axis] = shown.offset[n] + kept * shown.step[n];
  });
  draw();
}

const DRAGS = {
  crosshair: (event, start) => aim(event, start.frame),
  slices: (event, start) => {
    const by = Math.trunc((start.y - event.clientY) / 8) - start.slices;
    start.slices += by;
    if (by) scroll(by);
  },
  window: (event, start) => {
    const pace = Math.max(1, start.width / 200);
    setWindow(start.width + (event.clientX - start.x) * pace, start.level + (start.y - event.clientY) * pace);
  },
};

function followPointer(stage) {
  const fingers = new Map();
  let start = null;
  let spread = 0;
  const between = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  };
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  stage.addEventListener("pointerdown", (event) => {
    if (!state.case) return;
    stage.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    if (fingers.size === 2) {
      start = null;
      spread = between();
      return;
    }
    const windowing = event.shiftKey || event.button === 2;
    start = {
      x: event.clientX, y: event.clientY, width: state.width, level: state.level, slices: 0,
      frame: stage.querySelector(".frame"), drag: DRAGS[windowing ? "window" : byId("drag").value],
    };
    if (start.drag === DRAGS.crosshair) start.drag(event, start);
  });
  stage.addEventListener("pointermove", (event) => {
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, event);
    if (start) return start.drag(event, start);
    if (fingers.size !== 2 || !spread) return;
    const grown = between() / spread;
    if (grown < PINCH && grown > 1 / PINCH) return;
    spread = between();
    zoomBy(grown > 1 ? 1 : -1);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, (event) => {
      fingers.delete(event.pointerId);
      start = null;
    });
  }
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (state.case) scroll(Math.sign(event.deltaY));
  }, { passive: false });
}

const KEYS = {
  PageUp: () => scroll(1), PageDown: () => scroll(-1),
  ArrowLeft: () => nudge(-1, 0), ArrowRight: () => nudge(1, 0),
  ArrowUp: () => nudge(0, 1), ArrowDown: () => nudge(0, -1),
  a: () => moveToPlane("axial"), c: () => moveToPlane("coronal"), s: () => moveToPlane("sagittal"),
  "[": () => setWindow(state.width / 1.1 - 1, state.level),
  "]": () => setWindow(state.width * 1.1 + 1, state.level),
  ",": () => setWindow(state.width, state.level - Math.max(1, state.width / 20)),
  ".": () => setWindow(state.width, state.level + Math.max(1, state.width / 20)),
  z: zoomOn, e: () => state.case.worst && moveTo(state.case.worst), t: switchTheme,
};

function onKey(event) {
  if (!state.case || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.matches("select, input, summary")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const action = /^[1-9]$/.test(key) ? () => usePreset(Number(key) - 1) : KEYS[key];
  if (!action) return;
  event.preventDefault();
  action();
}

// The page

const READ_OUT = {
  original: "Original, HU", reconstruction: "Reconstruction, HU", error: "Error, HU",
  latent: "Latent",
};

function makeReadOut() {
  const cells = [
    ...VIEWS.map((view) => [`value-${view}`, READ_OUT[view]]),
    ["voxel", "Voxel from 0 (to right, front, head)"], ["position", "Position, mm"],
  ];
  const [head, body] = ["thead", "tbody"].map((part) => byId("readout").querySelector(`${part} tr`));
  for (const [id, title] of cells) {
    add(head, "th", { scope: "col" }, title);
    add(body, "td", { id, "data-title": title.split(" (")[0] });
  }
}

function makeViews() {
  byId("views").replaceChildren();
  makeReadOut();
  for (const shown of document.querySelectorAll("[data-for]")) {
    shown.hidden = !VIEWS.includes(shown.dataset.for);
  }
  for (const view of VIEWS) {
    const figure = add(byId("views"), "figure");
    const caption = add(figure, "figcaption", {}, `${view[0].toUpperCase()}${view.slice(1)}`);
    add(caption, "span", { id: `scale-${view}` });
    const stage = add(figure, "div", { class: "stage" });
    const frame = add(stage, "div", { class: "frame" });
    add(frame, "canvas", { id: `view-${view}`, role: "img" });
    add(frame, "div", { class: "down" });
    add(frame, "div", { class: "across" });
    for (const side of ["left", "right", "top", "bottom"]) {
      add(stage, "span", { class: `side ${side}`, "aria-hidden": "true" });
    }
    add(stage, "span", { class: "scale", "aria-hidden": "true" });
    followPointer(stage);
  }
}

function listWholeSlices() {
  const list = byId("whole");
  list.replaceChildren();
  add(list, "option", { value: "" }, "\u2013");
  state.case.slices.forEach((slice, n) => {
    add(list, "option", { value: n }, `${slice.plane} ${slice.index + 1}: ${slice.why.join(", ")}`);
  });
  list.parentElement.hidden = !state.case.slices.length;
}

function fillLists() {
  data.cases.forEach((shown, n) => add(byId("case"), "option", { value: n }, shown.name));
  add(byId("window"), "option", { value: "" }, "custom");
  data.windows.forEach((w, n) => {
    add(byId("window"), "option", { value: n }, `${w.name.replaceAll("_", " ")} ${w.width}/${w.level}`);
  });
}

function listen() {
  byId("viewer").addEventListener("keydown", onKey);
  byId("theme").addEventListener("click", switchTheme);
  byId("case").addEventListener("change", (event) => open(Number(event.target.value)));
  byId("window").addEventListener("change", (event) => usePreset(event.target.value));
  for (const id of ["width", "level"]) {
    byId(id).addEventListener("input", () => {
      const [width, level] = [byId("width"), byId("level")];
      if (width.value && level.value) setWindow(Number(width.value), Number(level.value));
    });
  }
  for (const id of ["limit", "zoom", "channel", "opacity"]) byId(id).addEventListener("input", draw);
  byId("slice").addEventListener("input", (event) => {
    state.at[PLANES[state.plane].normal] = slicesOf(state.plane)[Number(event.target.value)];
    draw();
  });
  byId("drag").addEventListener("input", () => { byId("views").dataset.drag = byId("drag").value; });
  byId("centre").addEventListener("click", () => moveTo(state.case.middle));
  byId("worst").addEventListener("click", () => moveTo(state.case.worst));
  byId("whole").addEventListener("change", (event) => {
    const chosen = state.case.slices[event.target.value];
    if (!chosen) return draw();
    state.at[PLANES[chosen.plane].normal] = chosen.index;
    moveToPlane(chosen.plane);
  });
  for (const button of document.querySelectorAll("[data-plane]")) {
    button.addEventListener("click", () => moveToPlane(button.dataset.plane));
  }
  for (const button of document.querySelectorAll(".open")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      open(data.cases.findIndex((shown) => shown.place === Number(button.dataset.place)));
      byId("viewer").focus();
    });
  }
  new ResizeObserver(draw).observe(byId("views"));
}

function open(number) {
  return load(number).catch((error) => {
    byId("trouble").hidden = false;
    byId("trouble").textContent = `The voxels cannot be shown (${error.message}); use a browser of 2023 or newer.`;
  });
}

byId("theme").hidden = false;
nameTheme();
if (data.cases.length) {
  makeViews();
  fillLists();
  listen();
  usePreset(data.windows.findIndex((w) => w.name === "soft_tissue"));
  open(0).then(() => { byId("viewer").hidden = false; });
} else {
  byId("viewer").remove();
  byId("theme").addEventListener("click", switchTheme);
}
