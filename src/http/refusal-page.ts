import { sharedByCopies } from '../base/copies.ts';
import { isForbidden } from '../limiter/rate-limit-exceeded.ts';
import type { Form } from './accept.ts';
import type { HeaderFields } from './application-fields.ts';
import { VARY_ACCEPT } from './headers.ts';
import { PROBLEM_JSON } from './problem.ts';
import type { RefusalResponse } from './refusal.ts';

const TITLES = {
  400: 'Bad Request',
  403: 'Forbidden',
  429: 'Too Many Requests',
  503: 'Service Unavailable',
} as const;

const TYPES: Readonly<Record<Form, string>> = {
  problem: PROBLEM_JSON,
  html: 'text/html; charset=utf-8',
  text: 'text/plain; charset=utf-8',
};

/**
 * Gives a refusal its form: the problem that it is, or a page for people in its place. A page shows the status, the
 * reason and the wait, and no identity.
 *
 * @param varies whether the form depends on the request's `Accept`
 */
export function inForm(form: Form, varies: boolean, problem: RefusalResponse): RefusalResponse {
  const headers: HeaderFields = [
    ['Content-Type', TYPES[form]],
    ...problem.headers,
    ...(varies ? [VARY_ACCEPT] : []),
  ];
  return { ...problem, headers, body: form === 'problem' ? problem.body : makePage(form, problem) };
}

function makePage(form: Exclude<Form, 'problem'>, refusal: RefusalResponse): string {
  const title = TITLES[refusal.status];
  const sentences = [reasonOf(refusal), ...adviceOf(refusal)].join(' ');
  return form === 'html' ? htmlPage(title, sentences) : `${title}\n\n${sentences}\n`;
}

/** Verdicts whose body is such a page. */
const pages = sharedByCopies('pages', () => new WeakSet());

export function notePage(verdict: object): void {
  pages.add(verdict);
}

/** Whether the guard wrote the body for people, so that it must be sent as it is. */
export function isPage(verdict: object): boolean {
  return pages.has(verdict);
}

function reasonOf({ decision, isQueueFull }: RefusalResponse): string {
  if (isQueueFull === true) {
    return 'Too many of your requests are waiting already.';
  }
  if (decision === undefined) {
    return 'This request does not say who makes it.';
  }
  if (decision.degraded) {
    return 'This request cannot be checked at present.';
  }
  if (isForbidden(decision)) {
    return 'No requests are allowed.';
  }
  if (decision.reason === 'blocked') {
    return 'Your requests are blocked at present.';
  }
  return decision.reason === 'impossible'
    ? 'This request asks for more than is ever allowed.'
    : 'You have sent too many requests.';
}

function adviceOf({ status, headers }: RefusalResponse): string[] {
  const retryAfter = headers.find(([name]) => name === 'Retry-After')?.[1];
  if (retryAfter !== undefined) {
    return [`Try again in ${inWords(Number(retryAfter))}.`];
  }
  return status === 503 ? ['Try again later.'] : [];
}

const UNITS = [
  ['second', 1],
  ['minute', 60],
  ['hour', 3_600],
  ['day', 86_400],
] as const;

/** Rounded up, in the largest unit of which there are at least two. */
function inWords(seconds: number): string {
  const [unit, size] = UNITS.findLast(([, each]) => seconds >= 2 * each) ?? UNITS[0];
  const count = Math.ceil(seconds / size);
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

/**
 * Without scripts and styles, so that no content security policy forbids any of it. Holds only words of this file and
 * a number, so there is nothing to escape: add no name, path or identity.
 */
function htmlPage(title: string, sentences: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title}</title>
</head>
<body>
<h1>${title}</h1>
<p>${sentences}</p>
</body>
</html>
`;
}
