import { keysOf } from '../script/call-shape.ts';
import type { Shape } from '../script/call-shape.ts';
import type { Encoded } from '../redis/connection/script.ts';
import type { Call } from './store.ts';

/** Most keys of one script call. 128 take the server about 0.5 ms; more would block other clients longer than they save. */
const MAX_KEYS = 128;
/** Most work of one script call, in the unit of `Work`: it holds the server for about 2 ms. */
const MAX_WORK = 1_024;

/**
 * Encodes as many calls from the front of a queue as one script call takes, as call-shape.lua and decide.lua read them.
 * Neighbours of one shape share a run, and neighbours of one key share that key, so a batch of equal calls carries keys
 * alone.
 */
export function encodeCalls(
  calls: readonly Call[],
  from: number,
  maxWork: number = MAX_WORK,
): Encoded {
  const shapes: Shape[] = [];
  const keys: string[] = [];
  const runs: string[] = [];
  let shape: Shape | undefined;
  let index = 0;
  let key: string | undefined;
  let homes: readonly string[] | undefined;
  let groups = 0;
  let times = 0;
  let details: string[] = [];
  const endRun = (): void => {
    if (groups > 0) {
      runs.push(String(index), String(groups), String(times), ...details);
      details = [];
    }
  };
  const shard = calls[from]?.shard;
  let to = from;
  let work = 0;
  for (; to < calls.length; to++) {
    const call = calls[to]!;
    // A call with details or a record of its own repeats its key.
    const repeats =
      call.shape === shape &&
      call.key === key &&
      call.details === undefined &&
      call.record === undefined &&
      (call.homes === undefined || areEqual(call.homes, homes));
    work += repeats ? call.shape.work.again : call.shape.work.first;
    if (call.shard !== shard || (work > maxWork && to > from)) {
      break;
    }
    if (repeats) {
      if (groups > 1) {
        // The key of the run's last group occurs again, so that group becomes a run of its own.
        groups -= 1;
        endRun();
        groups = 1;
      }
      times += 1;
      continue;
    }
    const recorded = call.record === undefined ? 0 : 1;
    if (keys.length + call.shape.keys.length + recorded > MAX_KEYS && to > from) {
      break;
    }
    if (call.shape === shape && times === 1) {
      groups += 1;
    } else {
      endRun();
      groups = 1;
      times = 1;
      shape = call.shape;
      index = shapes.indexOf(shape) + 1 || shapes.push(shape);
    }
    if (call.details !== undefined) {
      details.push(...call.details);
    }
    key = call.key;
    homes = call.homes;
    if (shape.isAtHome && recorded === 0) {
      keys.push(key);
    } else {
      keys.push(...keysOf(call));
    }
  }
  if (shape?.homePath && shapes.length === 1) {
    const isOneRun = runs.length === 0;
    // Deciding without the driver saves more than reading some keys again costs.
    const all = isOneRun ? keys : calls.slice(from, to).flatMap(keysOf);
    const repeats = !isOneRun || (groups > 1 && !areDistinct(keys));
    if (shape.lonePath !== undefined && !repeats) {
      return { keys, args: [`${shape.lonePath} ${times}`], taken: to - from };
    }
    if (all.length <= keys.length * 2) {
      const path = repeats ? 'homes' : 'home';
      return {
        keys: all,
        args: [path, String(isOneRun ? times : 1), ...shape.args],
        taken: to - from,
      };
    }
  }
  endRun();
  const args = [String(shapes.length)];
  for (const each of shapes) {
    args.push(...each.args);
  }
  args.push(...runs);
  return { keys, args, taken: to - from };
}

function areEqual(some: readonly string[], others: readonly string[] | undefined): boolean {
  return others !== undefined && some.every((key, i) => key === others[i]);
}

function areDistinct(keys: readonly string[]): boolean {
  return new Set(keys).size === keys.length;
}
