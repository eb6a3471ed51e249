"""What every page must be, asked of the page itself: readable, usable by keyboard, inside its window."""

from __future__ import annotations

from playwright.sync_api import Page

# Each script returns a list of sentences, one a finding.
STRUCTURE = """() => {
  const found = [], seen = {};
  const h1 = document.querySelectorAll('h1');
  if (h1.length !== 1 || !h1[0].innerText.trim()) found.push(`${h1.length} main headings`);
  if (document.querySelectorAll('main').length !== 1) found.push('not one main part');
  if (!document.title || document.documentElement.lang !== 'en') found.push('no title or language');
  for (const e of document.querySelectorAll('[id]')) { if (seen[e.id]) found.push(`two things are called #${e.id}`); seen[e.id] = true; }
  let level = 1;
  for (const h of document.querySelectorAll('main h1, main h2, main h3, main h4')) {
    const now = Number(h.tagName[1]);
    if (now > level + 1) found.push(`heading “${h.innerText}” skips a level`);
    level = now;
  }
  return found;
}"""

NAMES = """() => {
  const found = [];
  const text = (e) => (e ? (e.innerText || e.textContent || '').trim() : '');
  for (const e of document.querySelectorAll('input:not([type=hidden]), select, textarea')) {
    const own = e.getAttribute('aria-label') || text(document.getElementById(e.getAttribute('aria-labelledby')));
    const label = [...(e.labels || [])].map((l) => { const c = l.cloneNode(true); c.querySelectorAll('select, textarea').forEach((x) => x.remove()); return text(c); }).join('');
    if (!own && !label) found.push(`no label: ${e.outerHTML.slice(0, 120)}`);
  }
  for (const e of document.querySelectorAll('button, a[href], summary')) {
    if (!text(e) && !e.getAttribute('aria-label')) found.push(`says nothing: ${e.outerHTML.slice(0, 120)}`);
  }
  for (const e of document.querySelectorAll('img')) if (!e.hasAttribute('alt')) found.push(`no words for ${e.src}`);
  for (const e of document.querySelectorAll('.chart')) if (!e.getAttribute('aria-label')) found.push('a chart says nothing');
  return found;
}"""

INSIDE = """() => {
  const found = [], root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) found.push(`scrolls ${root.scrollWidth - root.clientWidth} px sideways`);
  for (const sheet of document.querySelectorAll('.sheet')) {
    const right = sheet.getBoundingClientRect().right;
    for (const e of sheet.querySelectorAll('*')) {
      const box = e.getBoundingClientRect();
      if (box.width && box.right > right + 1 && !e.closest('svg, .hidden, thead, datalist')) {
        found.push(`${Math.round(box.right - right)} px beyond its sheet: ${e.outerHTML.slice(0, 120)}`);
        break;
      }
    }
  }
  return found;
}"""

# WCAG 2.2, success criterion 1.4.3: 4.5 to 1, large text 3 to 1.
CONTRAST = """() => {
  const found = [];
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3]));
  const behind = (e) => {
    const layers = [];
    for (let n = e; n; n = n.parentElement) { const c = rgba(getComputedStyle(n).backgroundColor); if (c[3] > 0) { layers.push(c); if (c[3] === 1) break; } }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const told = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, e = node.parentElement;
    if (!node.data.trim() || e.closest('svg, script, style, option, datalist, .hidden, .skip, [disabled]') || !e.checkVisibility()) continue;
    const style = getComputedStyle(e), under = behind(e);
    const a = light(over(rgba(style.color), under)), b = light(under);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const words = `${ratio.toFixed(2)} to 1: “${node.data.trim().slice(0, 40)}” in ${style.color} on rgb(${under.map(Math.round)})`;
    const key = style.color + under;
    if (ratio < (large ? 3 : 4.5) && !told.has(key)) { told.add(key); found.push(words); }
  }
  return found;
}"""

# After a key was pressed, focus given by script counts as focus by keyboard.
FOCUS = """() => {
  const found = [];
  for (const e of document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]')) {
    if (e.disabled || !e.checkVisibility()) continue;
    e.focus({ preventScroll: true });
    if (document.activeElement !== e) { found.push(`takes no focus: ${e.outerHTML.slice(0, 100)}`); continue; }
    const style = getComputedStyle(e);
    if (style.outlineStyle === 'none' || parseFloat(style.outlineWidth) < 2) found.push(`focus is not seen: ${e.outerHTML.slice(0, 100)}`);
  }
  document.activeElement && document.activeElement.blur();
  return found;
}"""


def findings(page: Page, *scripts: str) -> list[str]:
    """What these checks found on the page that is open."""
    return [str(sentence) for script in scripts for sentence in page.evaluate(script)]


def settle(page: Page) -> None:
    """Wait until charts have been drawn (again)."""
    page.evaluate("document.fonts.ready")
    if page.locator("[data-chart]").count():
        page.locator("[data-chart] svg.main-svg").first.wait_for()
        # Plotly follows a new window size after a moment of its own.
        page.wait_for_function(
            "() => [...document.querySelectorAll('[data-chart]')].every(e => e.querySelector('svg.main-svg')"
            " && e.querySelector('svg.main-svg').getBoundingClientRect().width <= e.getBoundingClientRect().width + 1)"
        )
