/** Small helpers for elements. Nothing is built from strings of markup: a caller's key may be any text. */

/** @param {string} id @returns {HTMLElement} */
export function at(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`There is no #${id}.`);
  return found;
}

/**
 * @param {string} name
 * @param {Readonly<Record<string, string | number>> & { text?: string | number }} [attributes]
 * @param {readonly Node[]} [children]
 */
export function element(name, { text, ...attributes } = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = String(text);
  made.append(...children);
  return made;
}

/** @param {string} name @param {Readonly<Record<string, string | number>>} attributes @param {string} [text] */
export function shape(name, attributes, text) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Touches the page only for something new, so that a screen reader has nothing to repeat. @param {Element} shown @param {string | number} text */
export function say(shown, text) {
  if (shown.textContent !== String(text)) shown.textContent = String(text);
}

/** @param {string} id @param {readonly (readonly (string | number)[])[]} rows of which the first cell is the row's name */
export function fillRows(id, rows) {
  at(id).replaceChildren(
    ...rows.map(([name = '', ...cells]) =>
      element('tr', {}, [
        element('th', { scope: 'row', text: name }),
        ...cells.map((text) => element('td', { text })),
      ]),
    ),
  );
}

/** @param {string} id */
export function valueOf(id) {
  return /** @type {HTMLInputElement | HTMLSelectElement} */ (at(id)).value;
}

/** @param {number} ms @returns {Promise<void>} */
export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Whether the visitor wants things to stand still. */
export function wantsRest() {
  return matchMedia('(prefers-reduced-motion: reduce)').matches;
}

/** Round steps of a scale from 0 to about `most`. @param {number} most @param {number} wanted how many */
export function stepOf(most, wanted) {
  const rough = most / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10;
  return Math.max(1, step * power);
}
