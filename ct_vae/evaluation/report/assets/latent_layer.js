"use strict";

// Latents on the slices of their CT. This file comes before viewer.js in the page.

// Anchors of a color map of rising lightness, from dark violet over teal to yellow.
const RISING = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const RISING_COLOURS = Array.from({ length: 256 }, (_, n) => {
  const place = (n / 255) * (RISING.length - 1);
  const below = Math.min(Math.floor(place), RISING.length - 2);
  return RISING[below].map((from, c) => from + (place - below) * (RISING[below + 1][c] - from));
});

async function unpackLatent(shown) {
  const { text, channels, parts } = shown.latent;
  const ids = Array.from({ length: channels * parts }, (_, n) => `hu-${shown.place}-${text + n}`);
  const values = await Promise.all(ids.map(unpack));
  return Array.from({ length: channels }, (_, n) => values.slice(n * parts, (n + 1) * parts));
}

function latentValue(channel, n) {
  const { codes, slope, inter } = state.case.latent;
  const [low, high] = state.latent[channel];
  if (!codes) return inter[channel] + slope[channel] * low[n];
  return (low[n] & 0xffff) + 65536 * (high ? high[n] : 0);
}

// Position of a voxel of the CT between those of the latent, along each axis of the latent.
function latentPlace(voxel) {
  return state.case.latent.matrix.map((row) => row[3] + voxel.reduce((sum, v, a) => sum + v * row[a], 0));
}

// Index of the nearest voxel of the latent; -1 outside.
function latentIndex(place) {
  const { shape } = state.case.latent;
  const at = place.map(Math.round);
  if (at.some((v, axis) => v < 0 || v >= shape[axis])) return -1;
  return at[0] + shape[0] * (at[1] + shape[1] * at[2]);
}

function chosenChannel() {
  return Number(byId("channel").value) || 0;
}

// The painter of a slice with the latent on top of what another one paints.
function overlaid(shown, below) {
  const { normal, across, up } = PLANES[state.plane];
  const { matrix, shape, codes } = state.case.latent;
  const channel = chosenChannel();
  const opacity = state.case.layers ? Number(byId("opacity").value) / 100 : 1;
  const colour = codes ? codeColour : meanColour(channel);
  // The place in the latent is a linear function of column and row.
  const start = matrix.map((row) => row[3] + row[normal] * state.at[normal]
    + row[across] * shown.offset[0] + row[up] * shown.offset[1]);
  const byColumn = matrix.map((row) => row[across] * shown.step[0]);
  const byRow = matrix.map((row) => row[up] * shown.step[1]);
  const place = (axis, i, j) => Math.round(start[axis] + i * byColumn[axis] + j * byRow[axis]);
  return (pixels, at, n, i, j) => {
    below(pixels, at, n);
    const x = place(0, i, j);
    const y = place(1, i, j);
    const z = place(2, i, j);
    if (x < 0 || y < 0 || z < 0 || x >= shape[0] || y >= shape[1] || z >= shape[2]) return;
    const top = colour(latentValue(channel, x + shape[0] * (y + shape[1] * z)));
    for (let c = 0; c < 3; c++) pixels[at + c] += opacity * (top[c] - pixels[at + c]);
  };
}

function meanColour(channel) {
  const [low, high] = state.case.latent.range[channel];
  const scale = (RISING_COLOURS.length - 1) / (high - low || 1);
  return (value) => {
    const n = Math.round((value - low) * scale);
    return RISING_COLOURS[Math.min(Math.max(n, 0), RISING_COLOURS.length - 1)];
  };
}

// Neighboring codes get colors that differ.
function codeColour(code) {
  return [1, 2, 3].map((c) => 40 + (((code + 1) * (c * 40503 + 2654435)) >>> 7) % 200);
}

function latentScale() {
  if (state.case.latent.codes) return "one color per code";
  const [low, high] = state.case.latent.range[chosenChannel()];
  return `violet ${signedText(low, 2)}, yellow ${signedText(high, 2)}`;
}

function latentText(voxel) {
  const index = latentIndex(latentPlace(voxel));
  if (index < 0) return "outside";
  const { channels, codes } = state.case.latent;
  const values = Array.from({ length: channels }, (_, n) => latentValue(n, index));
  if (codes) return String(values[0]);
  return channels > 4
    ? signedText(values[chosenChannel()], 3)
    : values.map((v) => signedText(v, 3)).join(", ");
}

function listChannels() {
  const { latent } = state.case;
  if (!latent) return;
  const list = byId("channel");
  list.replaceChildren();
  for (let n = 0; n < latent.channels; n++) add(list, "option", { value: n }, String(n));
  list.parentElement.hidden = latent.channels < 2;
  byId("opacity").parentElement.hidden = !state.case.layers;
}
