/** The forms of a refusal, in the order in which they are preferred. */
const FORMS = ['problem', 'html', 'text'] as const;

export type Form = (typeof FORMS)[number];

/**
 * The forms that a media range stands for, and how specific it is. `application/json` counts as a range for the
 * problem, because clients that read JSON name it.
 */
const RANGES: Readonly<Record<string, readonly [specificity: number, ...forms: Form[]]>> = {
  'application/problem+json': [4, 'problem'],
  'text/html': [4, 'html'],
  'text/plain': [4, 'text'],
  'application/json': [3, 'problem'],
  'application/*': [2, 'problem'],
  'text/*': [2, 'html', 'text'],
  '*/*': [1, ...FORMS],
  // Sent by Java's own HTTP client.
  '*': [1, ...FORMS],
};

/** No client sends as much: browsers send about 150 characters. */
const LONGEST = 4_096;

/** The `Accept` of a request of Node's or of the web's; undefined for every other object. */
export function acceptOf(request: unknown): string | undefined {
  const { headers } = (request ?? {}) as { headers?: Partial<Headers> & { accept?: unknown } };
  const accept = typeof headers?.get === 'function' ? headers.get('accept') : headers?.accept;
  return typeof accept === 'string' ? accept : undefined;
}

/**
 * Chooses the form of a refusal by `Accept` (RFC 9110, §12.5.1): for each form the most specific range that names it
 * gives the quality, and the form of the best quality wins. Parameters other than `q` are ignored, and so are ranges
 * whose `q` is malformed. The problem if there is no `Accept`, if it is too long to be a client's, or if none of the
 * forms is acceptable.
 */
export function formFor(accept: string | undefined): Form {
  if (accept === undefined || accept.length > LONGEST) {
    return 'problem';
  }
  const found = new Map<Form, { specificity: number; quality: number }>();
  for (const range of split(accept, ',')) {
    const [type, ...parameters] = split(range, ';');
    const quality = qualityOf(parameters);
    const name = type!.toLowerCase();
    if (quality === undefined || !Object.hasOwn(RANGES, name)) {
      continue;
    }
    const [specificity, ...forms] = RANGES[name]!;
    for (const form of forms) {
      const before = found.get(form);
      const isBetter =
        before === undefined ||
        specificity > before.specificity ||
        (specificity === before.specificity && quality > before.quality);
      if (isBetter) {
        found.set(form, { specificity, quality });
      }
    }
  }
  let best: Form = 'problem';
  let most = 0;
  for (const form of FORMS) {
    const quality = found.get(form)?.quality ?? 0;
    if (quality > most) {
      best = form;
      most = quality;
    }
  }
  return best;
}

/** From 0 to 1; 1 without `q`; undefined if it is malformed. */
function qualityOf(parameters: readonly string[]): number | undefined {
  for (const parameter of parameters) {
    const [name, value = ''] = split(parameter, '=');
    if (name!.toLowerCase() === 'q') {
      const quality = /^[\d.]{1,5}$/.test(value) ? Number(value) : Number.NaN;
      return quality >= 0 && quality <= 1 ? quality : undefined;
    }
  }
  return 1;
}

/** Splits at a separator outside of quoted strings, and trims each part. */
function split(text: string, separator: string): string[] {
  const parts: string[] = [];
  let isQuoted = false;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    if (isQuoted && character === '\\') {
      i += 1;
    } else if (character === '"') {
      isQuoted = !isQuoted;
    } else if (character === separator && !isQuoted) {
      parts.push(text.slice(start, i).trim());
      start = i + 1;
    }
  }
  parts.push(text.slice(start).trim());
  return parts;
}
