/** Tokens of one call of a model. */
export interface ModelUsage {
  /**
   * Tokens of the prompt, as the provider limits them: with OpenAI's cached ones, with those that Anthropic writes to
   * its cache, without those that it reads from there.
   */
  readonly inputTokens: number;
  /** Tokens of the answer, reasoning included. */
  readonly outputTokens: number;
  /** The provider's own report, for prices that depend on more; undefined for an estimate. */
  readonly raw: unknown;
}

/** What one piece of an answer tells: text that was generated, and what the provider reports by then. */
export interface Progress {
  readonly text: string;
  readonly inputTokens: number | undefined;
  /** Of the whole answer so far. */
  readonly outputTokens: number | undefined;
  readonly raw: unknown;
}

type Json = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
    ? Math.ceil(value)
    : undefined;
}

/**
 * Reads the usage that an answer or an event reports, undefined without one: `usage` of OpenAI's chat completions,
 * completions and embeddings, of its responses (also in `response` of an event), and of Anthropic's messages (also in
 * `message`).
 */
function usageIn(body: Json): Json | undefined {
  for (const holder of [body, body['response'], body['message']]) {
    if (isObject(holder) && isObject(holder['usage'])) return holder['usage'];
  }
  return undefined;
}

function inputTokensOf(usage: Json): number | undefined {
  const own = count(usage['prompt_tokens']) ?? count(usage['input_tokens']);
  return own === undefined ? undefined : own + (count(usage['cache_creation_input_tokens']) ?? 0);
}

function outputTokensOf(usage: Json): number | undefined {
  return count(usage['completion_tokens']) ?? count(usage['output_tokens']);
}

/** Reads the usage of a whole answer; undefined if it reports none. */
export function readUsage(body: unknown): ModelUsage | undefined {
  const usage = isObject(body) ? usageIn(body) : undefined;
  const inputTokens = usage === undefined ? undefined : inputTokensOf(usage);
  if (usage === undefined || inputTokens === undefined) return undefined;
  return { inputTokens, outputTokens: outputTokensOf(usage) ?? 0, raw: usage };
}

/** Reads one event of a stream. */
export function readEvent(event: unknown): Progress {
  if (!isObject(event)) return { text: '', ...NOTHING };
  const usage = usageIn(event);
  const text = textsOf(event).join('');
  return usage === undefined
    ? { text, ...NOTHING }
    : {
        text,
        inputTokens: inputTokensOf(usage),
        outputTokens: outputTokensOf(usage),
        raw: usage,
      };
}

const NOTHING = { inputTokens: undefined, outputTokens: undefined, raw: undefined };

/**
 * What an event has generated: all text in the `delta` of OpenAI's choices, in the `delta` of its response events, and
 * in that of Anthropic's content blocks.
 */
function textsOf(event: Json): string[] {
  const choices = Array.isArray(event['choices']) ? (event['choices'] as unknown[]) : [];
  return [
    event['delta'],
    ...choices.flatMap((choice) => (isObject(choice) ? [choice['delta'], choice['text']] : [])),
  ].flatMap((delta) => stringsIn(delta, 4));
}

/** Keys of texts that a model does not read as text: names, and images or files in base64. */
const NOT_TEXT: ReadonlySet<string> = new Set([
  'type',
  'role',
  'id',
  'name',
  'stop_reason',
  'stop_sequence',
  'signature',
  'data',
  'file_data',
  'media_type',
  'mediaType',
  'url',
]);

/** All texts within a value that a model reads or writes. */
export function stringsIn(value: unknown, depth: number): string[] {
  if (typeof value === 'string') return [value];
  if (depth === 0 || typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) {
    return [];
  }
  return Object.entries(value).flatMap(([key, part]) =>
    NOT_TEXT.has(key) ? [] : stringsIn(part, depth - 1),
  );
}

const encoder = new TextEncoder();
const BYTES_PER_TOKEN = 4;

export function bytesOf(text: string): number {
  return encoder.encode(text).length;
}

/** A rough count: English text has about four bytes for each token. */
export function tokensIn(bytes: number): number {
  return Math.ceil(bytes / BYTES_PER_TOKEN);
}

/** Keys of a request under which its prompt is. */
const PROMPT = ['messages', 'system', 'instructions', 'input', 'prompt', 'tools'];
/** Keys of the most tokens of an answer, newest first. */
const MOST = ['max_completion_tokens', 'max_output_tokens', 'max_tokens'];

/**
 * Estimates the usage of a request: of its prompt by its length, of its answer by the maximum that it names, or
 * `unnamed`. A request without a JSON body has no usage, an embedding no answer.
 */
export function estimateUsage(body: unknown, unnamed: number): ModelUsage {
  if (!isObject(body)) return { inputTokens: 0, outputTokens: 0, raw: undefined };
  const prompt = PROMPT.map((key) => body[key]).filter((part) => part !== undefined);
  const answers = count(body['n']) ?? 1;
  const answered = body['messages'] !== undefined || !isEmbedding(body);
  const most = MOST.map((key) => count(body[key])).find((each) => each !== undefined) ?? unnamed;
  return {
    inputTokens: tokensIn(bytesOf(prompt.flatMap((part) => stringsIn(part, 8)).join(' '))),
    outputTokens: answered ? most * answers : 0,
    raw: undefined,
  };
}

function isEmbedding(body: Json): boolean {
  return (
    body['encoding_format'] !== undefined ||
    body['dimensions'] !== undefined ||
    /embed/i.test(String(body['model']))
  );
}
