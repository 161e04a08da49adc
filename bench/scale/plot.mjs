// @ts-check
/** @typedef {import('../scale.mjs').Figures} Figures */

const WIDTH = 960;
const HEIGHT = 300;
const PANEL = { width: 220, height: 150, top: 84, left: 62, step: 314 };

/** A background of its own keeps the picture legible on light and dark pages. */
const STYLE = `
text { font: 12px -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; fill: #1f2328 }
.title { font-size: 14px; font-weight: 600 }
.soft { fill: #59636e }
.middle { text-anchor: middle }
.end { text-anchor: end }
.ground { fill: #ffffff; stroke: #d1d9e0 }
.rule { stroke: #d1d9e0 }
.line { fill: none; stroke: #0969da; stroke-width: 2 }
.dot { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.soft { fill: #9198a1 }
.ground { fill: #0d1117; stroke: #3d444d }
.rule { stroke: #3d444d }
.line { stroke: #4493f8 }
.dot { fill: #4493f8 }
}
`;

/**
 * @typedef {object} Panel
 * @property {string} title
 * @property {string} below what the steps along the foot are
 * @property {{ label: string, value: number }[]} points
 */

/**
 * Plots Redis's processor time per decision as identities, calls in flight and primaries grow.
 *
 * @param {Figures} figures
 * @returns {string} an SVG
 */
export function plot({ identities, inFlight, primaries }) {
  /** @type {Panel[]} */
  const panels = [
    {
      title: 'identities in Redis',
      below: 'identities; 256 calls in flight',
      points: identities.map(({ count, loaded }) => ({
        label: short(count),
        value: loaded.redisUs,
      })),
    },
    {
      title: 'calls in flight',
      below: 'in flight, of one process',
      points: inFlight.map((each) => ({
        label: short(each.inFlight),
        value: each.sample.redisUs,
      })),
    },
    {
      title: 'cluster: × one server',
      below: 'primaries, each without and with 16 tags',
      points: primaries
        .filter((each) => each.inFlight === 256)
        .flatMap(({ primaries: many, alone, rows }) =>
          rows
            .filter(({ tags }) => tags <= 16)
            .map(({ tags, sample }) => ({
              label: tags === 0 ? String(many) : `${many} t`,
              value: sample.redisUs / alone.redisUs,
            })),
        ),
    },
  ];
  const title = 'Processor time of Redis per decision, in microseconds';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img">
<title>${title}</title>
<style>${STYLE}</style>
<rect class="ground" x="0.5" y="0.5" width="${WIDTH - 1}" height="${HEIGHT - 1}" rx="6"/>
<text class="title" x="20" y="32">${title}</text>
${panels.map(drawPanel).join('\n')}
</svg>
`;
}

/** @param {Panel} panel @param {number} place */
function drawPanel({ title, below, points }, place) {
  const { width, height, top, step } = PANEL;
  const left = PANEL.left + place * step;
  const most = roundUp(Math.max(...points.map(({ value }) => value)));
  const x = (/** @type {number} */ i) => (left + ((i + 0.5) / points.length) * width).toFixed(1);
  const y = (/** @type {number} */ value) => (top + height - (value / most) * height).toFixed(1);
  const rules = [0, 0.5, 1].map(
    (part) =>
      `<line class="rule" x1="${left}" y1="${y(part * most)}" x2="${left + width}" y2="${y(part * most)}"/>` +
      `<text class="soft end" x="${left - 8}" y="${Number(y(part * most)) + 4}">${part * most}</text>`,
  );
  const dots = points.map(
    ({ label, value }, i) =>
      `<circle class="dot" cx="${x(i)}" cy="${y(value)}" r="3.5"/>` +
      `<text class="middle" x="${x(i)}" y="${Number(y(value)) - 9}">${value.toFixed(1)}</text>` +
      `<text class="soft middle" x="${x(i)}" y="${top + height + 18}">${label}</text>`,
  );
  return [
    `<text x="${left}" y="${top - 22}">${title}</text>`,
    ...rules,
    `<path class="line" d="M${points.map(({ value }, i) => `${x(i)} ${y(value)}`).join('L')}"/>`,
    ...dots,
    `<text class="soft middle" x="${left + width / 2}" y="${top + height + 40}">${below}</text>`,
  ].join('\n');
}

/** The next of 1, 2, 4, 6, 8, 10, 20, … @param {number} value */
function roundUp(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return unit * (value <= unit ? 1 : 2 * Math.ceil(value / unit / 2));
}

/** @param {number} count */
function short(count) {
  if (count >= 1e6) return `${count / 1e6} M`;
  return count >= 1e3 && count % 1e3 === 0 ? `${count / 1e3} k` : String(count);
}
