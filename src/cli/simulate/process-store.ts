import { LocalView } from '../../stores/local-view.ts';
import { MemoryStore } from '../../stores/memory.ts';
import type { Call } from '../../stores/store.ts';

/**
 * One process's connection to a store that several simulated processes share. What a process may know by itself, such
 * as refusals of its deny cache, is its own; every state is the shared store's. Counts the calls that reach the store.
 */
export class ProcessStore extends MemoryStore {
  /** Other processes decide by the same states, as in Redis. */
  override readonly isShared: boolean = true;
  calls = 0;
  readonly #shared: MemoryStore;
  #view: LocalView<Call> | undefined;

  constructor(shared: MemoryStore) {
    super({ clock: shared.clock });
    this.#shared = shared;
  }

  override submit(call: Call): void {
    this.calls += 1;
    const view = this.#view;
    if (view !== undefined) {
      view.submitted(call);
      const settle = call.settle.bind(call);
      call.settle = (reply, at) => {
        const now = reply[0]!;
        view.anchors.heard('', now, now);
        settle(reply, at);
      };
    }
    this.#shared.submit(call);
  }

  override local(): LocalView<Call> {
    return (this.#view ??= new LocalView(this.clock, () => 0, false));
  }
}
