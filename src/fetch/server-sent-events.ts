/** More of an event than this is skipped: what is not read is only not counted. */
const MAX_EVENT_CHARACTERS = 1_048_576;

/** Reads the JSON of server-sent events from a stream's bytes, however they are cut. */
export class EventReader {
  readonly #decoder = new TextDecoder();
  /** The line that has begun. */
  #line = '';
  /** The `data` of the event that has begun. */
  #data = '';

  /** Returns the values of the events that these bytes complete. Events that are no JSON (`[DONE]`) are skipped. */
  read(bytes: Uint8Array): unknown[] {
    const lines = (this.#line + this.#decoder.decode(bytes, { stream: true })).split(
      /\r\n|\n|\r(?!$)/,
    );
    this.#line = lines.pop() ?? '';
    if (this.#line.length > MAX_EVENT_CHARACTERS) this.#line = '';
    return lines.flatMap((line) => this.#takeLine(line));
  }

  #takeLine(line: string): unknown[] {
    if (line === '') {
      const data = this.#data;
      this.#data = '';
      return parse(data);
    }
    if (line.startsWith('data:') && this.#data.length + line.length <= MAX_EVENT_CHARACTERS) {
      this.#data += `${this.#data === '' ? '' : '\n'}${line.slice(line.startsWith('data: ') ? 6 : 5)}`;
    }
    return [];
  }
}

function parse(data: string): unknown[] {
  if (!data.startsWith('{')) return [];
  try {
    return [JSON.parse(data)];
  } catch {
    return [];
  }
}
