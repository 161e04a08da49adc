/** The signature of `fetch`. */
export type Fetch = (
  input: Parameters<typeof fetch>[0],
  init?: Parameters<typeof fetch>[1],
) => ReturnType<typeof fetch>;

/** The facts that `key` gets about a request. */
export interface PacedRequest {
  readonly url: URL;
  /** The request's method, in upper case. */
  readonly method: string;
}

/** Undefined for arguments that fetch itself will refuse. */
export function describe(...[input, init]: Parameters<Fetch>): PacedRequest | undefined {
  const request = isRequest(input) ? input : undefined;
  const method = init?.method ?? request?.method ?? 'GET';
  const base = (globalThis as { location?: { href?: string } }).location?.href;
  try {
    return { url: new URL(urlOf(input), base), method: method.toUpperCase() };
  } catch {
    return undefined;
  }
}

function urlOf(input: Parameters<Fetch>[0]): string {
  if (typeof input === 'string') return input;
  return isRequest(input) ? input.url : input.href;
}

export function isRequest(input: Parameters<Fetch>[0]): input is Request {
  return typeof input === 'object' && 'url' in input;
}

export function signalOf(...[input, init]: Parameters<Fetch>): AbortSignal | null {
  // null in `init` removes a Request's own signal.
  if (init?.signal !== undefined) return init.signal;
  return isRequest(input) ? input.signal : null;
}

/** The fields that fetch will send, as far as its arguments tell. */
export function headersOf(...[input, init]: Parameters<Fetch>): Headers {
  return new Headers(init?.headers ?? (isRequest(input) ? input.headers : undefined));
}

/** The value of a JSON body; undefined for any other body, or none. */
export async function jsonBodyOf(...[input, init]: Parameters<Fetch>): Promise<unknown> {
  const given = init?.body;
  const text =
    given instanceof Uint8Array
      ? new TextDecoder().decode(given)
      : given === undefined && isRequest(input) && isJson(input.headers.get('content-type') ?? '')
        ? await input.clone().text()
        : given;
  if (typeof text !== 'string' || !/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether a media type is JSON. */
export function isJson(type: string): boolean {
  return /^application\/(?:[\w.-]+\+)?json\b/i.test(type);
}
