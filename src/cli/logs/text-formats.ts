import { callerOf, clientOf, costOf, lastForwarded } from './caller.ts';
import { closingQuote, columnsOf } from './columns.ts';
import { NO_CALLER, NO_COST, NO_TIME, NOT_THIS_FORMAT } from './entry.ts';
import type { FieldNames, LineParser, LogEntry, NoEntry } from './entry.ts';
import type { InstantReader } from './instant.ts';
import { ownText } from './own-text.ts';

/** A format of lines of columns. */
interface TextFormat {
  readonly columns: readonly string[];
  readonly time: readonly string[];
  /** The index of the column in brackets; -1 for none. */
  readonly bracketed: number;
  readonly key: string;
  /** Whether the columns are a line of this format. */
  readonly holds: (columns: readonly string[]) => boolean;
}

const STATUS = /^(?:\d{3}|-)$/;
const NUMBER = /^(?:\d+|-)$/;

/** https://httpd.apache.org/docs/2.4/logs.html, also nginx's `combined`. */
const COMBINED: TextFormat = {
  columns: ['address', 'ident', 'user', 'time', 'request', 'status', 'bytes', 'referer', 'agent'],
  time: ['time'],
  bracketed: 3,
  key: 'address',
  holds: (columns) => columns.length >= 7 && STATUS.test(columns[5]!) && NUMBER.test(columns[6]!),
};

/** https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html */
const ALB: TextFormat = {
  columns:
    'type time elb client target request_processing_time target_processing_time response_processing_time elb_status_code target_status_code received_bytes sent_bytes request user_agent ssl_cipher ssl_protocol target_group_arn trace_id domain_name chosen_cert_arn matched_rule_priority request_creation_time actions_executed redirect_url error_reason'.split(
      ' ',
    ),
  // `time` is when the response was made; the later column, absent in older logs, is when the request came.
  time: ['request_creation_time', 'time'],
  bracketed: -1,
  key: 'client',
  holds: (columns) =>
    columns.length >= 15 &&
    /^(?:https?|h2|grpcs|wss?)$/.test(columns[0]!) &&
    STATUS.test(columns[8]!),
};

/** https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#default-format-string */
const ENVOY: TextFormat = {
  columns:
    'time request status flags bytes_received bytes_sent duration upstream_service_time forwarded_for user_agent request_id authority upstream_host'.split(
      ' ',
    ),
  time: ['time'],
  bracketed: 0,
  key: 'forwarded_for',
  holds: (columns) =>
    columns.length >= 12 && /^\d{1,3}$/.test(columns[2]!) && NUMBER.test(columns[6]!),
};

export type TextFormatName = 'combined' | 'common' | 'alb' | 'envoy';

const TEXT_FORMATS: Readonly<Record<TextFormatName, TextFormat>> = {
  combined: COMBINED,
  common: COMBINED,
  alb: ALB,
  envoy: ENVOY,
};

/** Makes a parser of a text format. `--field` may name a column by its name, or by its number from 1. */
export function textParser(
  name: TextFormatName,
  fields: FieldNames,
  instants: InstantReader,
): LineParser {
  const format = TEXT_FORMATS[name];
  const isPlain = fields.size === 0;
  if (format === COMBINED && isPlain) {
    return (line) => combined(line, instants);
  }
  const key = columnNumber(format, fields.get('key') ?? format.key);
  const cost = fields.has('cost') ? columnNumber(format, fields.get('cost')!) : undefined;
  const times = fields.has('time')
    ? [columnNumber(format, fields.get('time')!)]
    : format.time.map((column) => columnNumber(format, column));
  const parts = [...fields]
    .filter(([part]) => part !== 'time' && part !== 'key' && part !== 'cost')
    .map(([part, column]) => [part, columnNumber(format, column)] as const);
  return (line) => {
    const columns = columnsOf(line, format.bracketed);
    if (columns === undefined || !format.holds(columns)) {
      return NOT_THIS_FORMAT;
    }
    const at = readFirst(times, columns, instants);
    if (at === undefined) {
      return NO_TIME;
    }
    const text = columns[key] ?? '';
    const caller = fields.has('key')
      ? callerOf(ownText(text))
      : clientOf(format === ENVOY ? lastForwarded(text) : text);
    if (caller === undefined) {
      return NO_CALLER;
    }
    const units = cost === undefined ? 1 : costOf(columns[cost]);
    if (units === undefined) {
      return NO_COST;
    }
    if (parts.length === 0) {
      return { at, order: 0, caller, cost: units };
    }
    const named = Object.fromEntries(
      parts.map(([part, column]) => [part, ownText(columns[column] ?? '')]),
    );
    return Object.values(named).some((part) => callerOf(part) === undefined)
      ? NO_CALLER
      : { at, order: 0, caller, cost: units, parts: named };
  };
}

function readFirst(
  times: readonly number[],
  columns: readonly string[],
  instants: InstantReader,
): number | undefined {
  for (const time of times) {
    const at = instants.read(columns[time]);
    if (at !== undefined) {
      return at;
    }
  }
  return undefined;
}

/** @throws {RangeError} for a column that the format has not */
function columnNumber({ columns }: TextFormat, name: string): number {
  const number = /^\d{1,3}$/.test(name) ? Number(name) - 1 : columns.indexOf(name);
  if (number < 0) {
    throw new RangeError(
      `names the column '${name}', which the format has not. Its columns are ${columns.join(', ')}; write the number of another one, from 1.`,
    );
  }
  return number;
}

/** The commonest format, without cutting lines into columns. */
function combined(line: string, instants: InstantReader): LogEntry | NoEntry {
  const space = line.indexOf(' ');
  const open = line.indexOf(' [', space);
  const close = line.indexOf('] "', open);
  if (space <= 0 || open < 0 || close < 0) {
    return NOT_THIS_FORMAT;
  }
  const end = closingQuote(line, close + 3);
  if (end < 0 || !isStatus(line, end + 1)) {
    return NOT_THIS_FORMAT;
  }
  const at = instants.read(line.slice(open + 2, close));
  if (at === undefined) {
    return NO_TIME;
  }
  const caller = clientOf(line.slice(0, space));
  return caller === undefined ? NO_CALLER : { at, order: 0, caller, cost: 1 };
}

/** Whether ` 200 123` follows: a status and a number of bytes. */
function isStatus(line: string, at: number): boolean {
  STATUS_AND_BYTES.lastIndex = at;
  return STATUS_AND_BYTES.test(line);
}

const STATUS_AND_BYTES = /\s(?:\d{3}|-) (?:\d+|-)(?:\s|$)/y;
