// @ts-check
/** What axe-core finds wrong on a page that a browser shows. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
/** As text: its types name the DOM, and it runs in the browser only. */
const axe = readFileSync(require.resolve('axe-core'), 'utf8');

/**
 * @typedef {{ id: string, help: string, nodes: { target: string[], failureSummary: string }[] }} Violation
 * @typedef {{ axe: { run: () => Promise<{ violations: Violation[] }> } }} WithAxe
 */

/**
 * Runs all of axe-core's rules, of WCAG and of good practice, on the page as it looks now: its colour scheme, its width.
 *
 * @param {import('playwright-core').Page} page
 * @returns {Promise<readonly string[]>} one line for each finding; empty if there is none
 * @example
 * expect(await axeFindings(page)).toEqual([]);
 */
export async function axeFindings(page) {
  // The browser's own evaluation is not bound by the page's content security policy.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() =>
    /** @type {WithAxe} */ (/** @type {unknown} */ (globalThis)).axe.run(),
  );
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(
      ({ target, failureSummary }) => `${id}: ${help}: ${target.join(' ')}: ${failureSummary}`,
    ),
  );
}
