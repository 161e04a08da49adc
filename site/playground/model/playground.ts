import { computed, onBeforeUnmount, onMounted, reactive, ref, shallowRef, watch } from 'vue';
import { durationToMs } from '../../../src/base/duration.ts';
import type { LogFacts } from '../../../src/cli/logs/read-log.ts';
import type { LogSettings } from '../engine/log.ts';
import type { Run } from '../engine/run.ts';
import type { Suggestions } from '../engine/suggest.ts';
import type { Source } from '../engine/worker.ts';
import { Client } from './client.ts';
import { EXAMPLES } from './examples.ts';
import type { Example } from './examples.ts';
import { count } from './figures.ts';
import { policyForm, problemsOf } from './limits.ts';
import type { PolicyForm } from './limits.ts';
import { readHash, readSeed, writeHash } from './state.ts';
import type { PageState } from './state.ts';
import { problemOfTraffic, readLength, textOfTraffic, trafficForm } from './traffic.ts';
import type { TrafficForm } from './traffic.ts';

const MOST_POLICIES = 6;
const MOST_TRAFFICS = 6;

/** All that the page shows and takes. It asks the worker again whenever something changes. */
export function usePlayground() {
  const policies = ref<PolicyForm[]>([]);
  const traffics = ref<TrafficForm[]>([]);
  const length = ref('');
  const seed = ref('');
  const watched = ref<string>();
  /** The slot that a key or a click chose, and the one under the pointer. */
  const keptMs = ref<number>();
  const passingSlot = ref<number>();
  const example = ref<Example>();

  const log = reactive({
    facts: undefined as LogFacts | undefined,
    isCut: false,
    isOpen: false,
    progress: undefined as string | undefined,
    problem: undefined as string | undefined,
  });

  const shown = shallowRef<{ run: Run; policies: readonly string[]; isLog: boolean }>();
  const failure = ref<string>();
  const suggestions = shallowRef<Suggestions>();
  const suggestPeriod = ref('1m');
  const wantsSuggestions = ref(false);
  let client: Client | undefined;

  const lengthProblem = computed(() => {
    const read = readLength(length.value);
    return typeof read === 'string' ? read : undefined;
  });
  const seedProblem = computed(() =>
    readSeed(seed.value) === undefined ? 'A seed has up to nine digits.' : undefined,
  );

  const texts = computed(() => policies.value.map(({ text }) => text.trim()));
  const isValid = computed(
    () =>
      policies.value.every((policy) => problemsOf(policy) === undefined) &&
      (log.isOpen ||
        (traffics.value.every((traffic) => problemOfTraffic(traffic) === undefined) &&
          lengthProblem.value === undefined &&
          seedProblem.value === undefined)),
  );
  const source = computed<Source>(() =>
    log.isOpen
      ? 'log'
      : {
          traffics: traffics.value.map(textOfTraffic),
          lengthMs: readLength(length.value) as number,
          seed: readSeed(seed.value)!,
        },
  );

  const state = computed<PageState>(() => ({
    policies: texts.value,
    traffics: traffics.value.map(textOfTraffic),
    length: length.value.trim(),
    seed: readSeed(seed.value) ?? 1,
    watched: log.isOpen ? undefined : watched.value,
    atMs: log.isOpen ? undefined : keptMs.value,
  }));

  const keptSlot = computed(() => {
    const scale = shown.value?.run.scale;
    if (scale === undefined || keptMs.value === undefined) {
      return undefined;
    }
    return Math.min(scale.slots - 1, Math.floor((keptMs.value * 1_000) / scale.stepMicros));
  });
  const slot = computed(() => passingSlot.value ?? keptSlot.value);

  function show(given: PageState): void {
    policies.value = given.policies.map(policyForm);
    const read = given.traffics.map(trafficForm).filter((each) => each !== undefined);
    traffics.value =
      read.length > 0 ? read : EXAMPLES[0].traffics.map((each) => trafficForm(each)!);
    length.value = given.length;
    seed.value = String(given.seed);
    watched.value = given.watched;
    keptMs.value = given.atMs;
    const hash = writeHash(given);
    example.value = EXAMPLES.find((each) => writeHash({ ...each, atMs: given.atMs }) === hash);
  }

  function showExample(chosen: Example): void {
    closeLog();
    show(chosen);
  }

  function point(to: number | undefined, isKept: boolean): void {
    passingSlot.value = isKept ? undefined : to;
    const scale = shown.value?.run.scale;
    if (isKept && scale !== undefined) {
      keptMs.value = to === undefined ? undefined : (to * scale.stepMicros) / 1_000;
    }
  }

  function addPolicy(text?: string): void {
    if (policies.value.length < MOST_POLICIES) {
      policies.value.push(policyForm(text ?? policies.value.at(-1)?.text ?? '100/1m'));
    }
  }

  function addTraffic(): void {
    traffics.value.push(trafficForm('10 callers poisson 30/1m')!);
  }

  async function ask(): Promise<void> {
    if (client === undefined || !isValid.value || (log.isOpen && log.facts === undefined)) {
      return;
    }
    const asked = { policies: texts.value, isLog: log.isOpen };
    try {
      const run = await client.ask({
        ask: 'run',
        source: plain(source.value),
        policies: [...asked.policies],
        watched: watched.value,
      });
      if (run !== undefined) {
        shown.value = { run, ...asked };
        failure.value = undefined;
      }
    } catch (error) {
      failure.value = (error as Error).message;
    }
  }

  async function askSuggestions(): Promise<void> {
    if (client === undefined || !wantsSuggestions.value || !isValid.value) {
      return;
    }
    const periodMs = durationToMs(suggestPeriod.value)!;
    suggestions.value = await client.ask({ ask: 'suggest', source: plain(source.value), periodMs });
  }

  async function openLog(file: File, settings: LogSettings): Promise<void> {
    log.problem = undefined;
    log.progress = `Reading ${file.name} …`;
    try {
      const opened = await client!.ask({ ask: 'open', file, settings }, (share, lines) => {
        log.progress = `Reading ${file.name}: ${Math.floor(share * 100)} %, ${count(lines)} lines`;
      });
      if (opened.requests === 0) {
        throw new Error('The log holds no request.');
      }
      log.facts = opened.facts;
      log.isCut = opened.isCut;
      log.isOpen = true;
      watched.value = undefined;
      keptMs.value = undefined;
      example.value = undefined;
      await Promise.all([ask(), askSuggestions()]);
    } catch (error) {
      log.problem = (error as Error).message;
    } finally {
      log.progress = undefined;
    }
  }

  function closeLog(): void {
    Object.assign(log, { facts: undefined, isCut: false, isOpen: false, problem: undefined });
    watched.value = undefined;
    keptMs.value = undefined;
  }

  /** Saves every decision as a file. */
  async function save(): Promise<void> {
    const blob = await client!.ask({
      ask: 'save',
      source: plain(source.value),
      policies: [...texts.value],
    });
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = 'decisions.jsonl';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  function readAddress(): void {
    show(readHash(location.hash, EXAMPLES[0]) ?? EXAMPLES[0]);
  }

  let written: ReturnType<typeof setTimeout> | undefined;

  /** Browsers refuse to change the address too often, so it waits until one has stopped typing. */
  function writeAddress(): void {
    clearTimeout(written);
    written = setTimeout(() => {
      const hash = writeHash(state.value);
      if (hash !== location.hash) {
        history.replaceState(history.state, '', hash);
      }
    }, 200);
  }

  watch([texts, source, watched], () => void ask());
  watch([source, suggestPeriod, wantsSuggestions], () => void askSuggestions());
  watch(state, writeAddress);
  onMounted(() => {
    client = new Client();
    readAddress();
    addEventListener('hashchange', readAddress);
  });
  onBeforeUnmount(() => {
    clearTimeout(written);
    removeEventListener('hashchange', readAddress);
    client?.close();
  });

  return {
    policies,
    traffics,
    length,
    lengthProblem,
    seed,
    seedProblem,
    watched,
    example,
    log,
    shown,
    failure,
    isValid,
    slot,
    keptSlot,
    suggestions,
    suggestPeriod,
    wantsSuggestions,
    canAddPolicy: computed(() => policies.value.length < MOST_POLICIES),
    canAddTraffic: computed(() => traffics.value.length < MOST_TRAFFICS),
    showExample,
    point,
    addPolicy,
    addTraffic,
    openLog,
    closeLog,
    save,
  };
}

/** A copy that can be sent to a worker: what Vue watches cannot. */
function plain(source: Source): Source {
  return source === 'log' ? source : { ...source, traffics: [...source.traffics] };
}
