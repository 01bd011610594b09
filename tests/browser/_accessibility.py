"""What audits of web pages look for: contrast, names of controls, structure, and stable layout."""

import time

# WCAG 2.1, 1.4.3 (AA): 4.5 for text, 3 for large text. Text on pictures has a dark shadow instead.
_CONTRAST = r"""
const skipped = arguments[0];
const parse = (text) => (text.match(/[\d.]+/g) || []).map(Number);
const opaque = (c) => c.length < 4 || c[3] === 1;
function background(element) {
  for (let e = element; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length >= 3 && opaque(c)) return c;
    if (c.length === 4 && c[3] > 0) {
      const below = e.parentElement ? background(e.parentElement) : [255, 255, 255];
      return [0, 1, 2].map((i) => c[3] * c[i] + (1 - c[3]) * below[i]);
    }
  }
  return [255, 255, 255];
}
const linear = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const light = (c) => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
const found = {};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || (skipped && e.closest(skipped))) continue;
  if (["SCRIPT", "STYLE", "NOSCRIPT"].includes(e.tagName)) continue;
  if (!e.checkVisibility({visibilityProperty: true})) continue;
  const style = getComputedStyle(e), back = background(e);
  const text = parse(e instanceof SVGElement ? style.fill : style.color);
  const alpha = text.length > 3 ? text[3] : 1;
  const color = [0, 1, 2].map((i) => alpha * text[i] + (1 - alpha) * back[i]);
  const [high, low] = [light(color), light(back)].sort((a, b) => b - a);
  const ratio = (high + 0.05) / (low + 0.05);
  const size = parseFloat(style.fontSize), bold = style.fontWeight >= 600;
  const least = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
  if (ratio < least) {
    const where = `${e.tagName.toLowerCase()}.${e.getAttribute("class") || ""}`;
    found[`${where} ${style.color} on ${back.map(Math.round)}`] =
      [ratio.toFixed(2), walker.currentNode.data.trim().slice(0, 30)];
  }
}
return found;
"""
_STRUCTURE = r"""
const problems = [];
const all = (s) => [...document.querySelectorAll(s)];
const tell = (what, e) => problems.push(`${what}: ${e.outerHTML.slice(0, 120)}`);
if (!document.documentElement.lang) problems.push("no language");
if (!document.title.trim()) problems.push("no title");
const viewport = document.querySelector("meta[name=viewport]");
if (!viewport || !viewport.content.includes("width=device-width")) problems.push("no viewport");
if (viewport && /user-scalable=no|maximum-scale/.test(viewport.content)) problems.push("no zoom");
if (all("h1").length !== 1) problems.push(`${all("h1").length} first headings`);
let level = 0;
for (const e of all("h1, h2, h3, h4, h5, h6")) {
  if (+e.tagName[1] > level + 1) tell("heading without its parent", e);
  level = +e.tagName[1];
}
const ids = all("[id]").map((e) => e.id);
const twice = new Set(ids.filter((id, n) => ids.indexOf(id) !== n));
for (const id of twice) problems.push(`twice: ${id}`);
for (const e of all("img")) if (!e.hasAttribute("alt")) tell("no alternative text", e);
for (const e of all("img")) {
  if (!e.hasAttribute("width") || !e.hasAttribute("height")) tell("no size", e);
}
for (const e of all("button, select, input:not([type=hidden]), textarea, a[href], summary")) {
  const name = e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.title
    || e.textContent.trim() || (e.labels && [...e.labels].map((l) => l.textContent.trim()).join(""))
    || (e.querySelector("img") && e.querySelector("img").alt);
  if (!name && e.checkVisibility({visibilityProperty: true})) tell("no name", e);
}
for (const e of all("[tabindex]")) if (e.tabIndex > 0) tell("own order of focus", e);
for (const e of all("svg")) {
  const drawn = e.closest("[aria-hidden=true], button, a, label, nav");
  if (!drawn && !(e.getAttribute("aria-label") || e.querySelector("title"))) tell("no name", e);
}
return problems;
"""
# Shifts of the layout while the page loads; 0.1 counts as good in Core Web Vitals.
_SHIFT = """
const done = arguments[0];
let sum = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) sum += entry.value;
}).observe({type: "layout-shift", buffered: true});
setTimeout(() => done(sum), 300);
"""


def problems(browser, skipped_text=""):
    """Everything that an audit finds on the open page, in light and in dark colors.

    ``skipped_text`` selects text on pictures.
    """
    found = list(browser.execute_script(_STRUCTURE))
    shift = browser.execute_async_script(_SHIFT)
    if shift >= 0.1:
        found.append(f"the layout shifts by {shift:.2f}")
    try:
        for scheme in ("light", "dark"):
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            time.sleep(0.5)
            for where, (ratio, text) in browser.execute_script(_CONTRAST, skipped_text).items():
                found.append(f"contrast {ratio} in {scheme} colors: {where}: {text!r}")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    return found
