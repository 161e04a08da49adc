import { expect, test } from 'vitest';
import { EventReader } from '../../../src/fetch/server-sent-events.ts';
import { readEvent, readUsage } from '../../../src/fetch/usage.ts';

const STREAM =
  ': a comment\r\nevent: x\r\ndata: {"a":1}\r\n\r\ndata: {"b":\r\ndata: "ü€😀"}\n\ndata:{"c":3}\r\rid: 7\n\ndata: [DONE]\n\ndata: {broken\n\ndata: {"d":4}\n\ndata: {"unfinished":1}';
const EVENTS = [{ a: 1 }, { b: 'ü€😀' }, { c: 3 }, { d: 4 }];

test('events are the same however their bytes are cut', () => {
  const bytes = new TextEncoder().encode(STREAM);
  for (let size = 1; size <= bytes.length; size++) {
    const reader = new EventReader();
    const read: unknown[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      read.push(...reader.read(bytes.subarray(at, at + size)));
    }
    expect(read).toEqual(EVENTS);
  }
});

test('an event without end is dropped, and the next is read', () => {
  const reader = new EventReader();
  const piece = new TextEncoder().encode('x'.repeat(100_000));
  const text = (line: string) => reader.read(new TextEncoder().encode(line));
  text('data: {"a":"');
  for (let i = 0; i < 20; i++) expect(reader.read(piece)).toEqual([]);
  expect(text('"}\n\ndata: {"b":2}\n\n')).toEqual([{ b: 2 }]);
});

/** Each row: the protocol, an answer, and its usage in tokens. */
const ANSWERS: readonly (readonly [string, unknown, [number, number] | undefined])[] = [
  [
    'a chat completion',
    { usage: { prompt_tokens: 19, completion_tokens: 10, total_tokens: 29 } },
    [19, 10],
  ],
  ['an embedding', { usage: { prompt_tokens: 8, total_tokens: 8 } }, [8, 0]],
  ['a response', { usage: { input_tokens: 36, output_tokens: 87, total_tokens: 123 } }, [36, 87]],
  [
    'a message, whose cached input counts only where it is written',
    {
      usage: {
        input_tokens: 50,
        cache_creation_input_tokens: 200,
        cache_read_input_tokens: 9_000,
        output_tokens: 30,
      },
    },
    [250, 30],
  ],
  ['no usage', { choices: [] }, undefined],
  ['usage that is no object', { usage: 5 }, undefined],
  ['usage without numbers', { usage: { prompt_tokens: '5' } }, undefined],
  ['negative usage', { usage: { prompt_tokens: -5, completion_tokens: 1 } }, undefined],
  ['no object', [1], undefined],
];
test.each(ANSWERS)('reads the usage of %s', (_, answer, tokens) => {
  const usage = readUsage(answer);
  expect(usage && [usage.inputTokens, usage.outputTokens]).toEqual(tokens);
});

const NONE = { inputTokens: undefined, outputTokens: undefined };

/** Each row: the protocol, an event, and what it tells. */
const READ: readonly (readonly [string, unknown, object])[] = [
  [
    'a piece of a chat completion',
    { choices: [{ index: 0, delta: { role: 'assistant', content: 'Hello' } }], usage: null },
    { text: 'Hello', ...NONE },
  ],
  [
    'a tool call of a chat completion',
    {
      choices: [
        { delta: { tool_calls: [{ id: 'call_1', function: { name: 'f', arguments: '{"a"' } }] } },
      ],
    },
    { text: '{"a"', ...NONE },
  ],
  ['a piece of a completion', { choices: [{ text: 'Hello' }] }, { text: 'Hello', ...NONE }],
  [
    'the usage of a chat completion',
    { choices: [], usage: { prompt_tokens: 1, completion_tokens: 2 } },
    { text: '', inputTokens: 1, outputTokens: 2 },
  ],
  [
    'a piece of a response',
    { type: 'response.output_text.delta', delta: 'Hello' },
    { text: 'Hello', ...NONE },
  ],
  [
    'the end of a response',
    { type: 'response.completed', response: { usage: { input_tokens: 1, output_tokens: 2 } } },
    { text: '', inputTokens: 1, outputTokens: 2 },
  ],
  [
    'the start of a message',
    { type: 'message_start', message: { usage: { input_tokens: 25, output_tokens: 1 } } },
    { text: '', inputTokens: 25, outputTokens: 1 },
  ],
  [
    'a piece of a message',
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hello' } },
    { text: 'Hello', ...NONE },
  ],
  [
    'a tool input of a message',
    { type: 'content_block_delta', delta: { type: 'input_json_delta', partial_json: '{"a"' } },
    { text: '{"a"', ...NONE },
  ],
  [
    'thought of a message, without its signature',
    {
      type: 'content_block_delta',
      delta: { type: 'thinking_delta', thinking: 'Hm', signature: 'x' },
    },
    { text: 'Hm', ...NONE },
  ],
  [
    'the end of a message',
    { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 15 } },
    { text: '', inputTokens: undefined, outputTokens: 15 },
  ],
  ['a ping', { type: 'ping' }, { text: '', ...NONE }],
  ['no object', 5, { text: '', ...NONE }],
];
test.each(READ)('reads %s', (_, event, told) => {
  expect(readEvent(event)).toMatchObject(told);
});
