export { clientContract } from './client-contract.ts';
export { ManualClock } from './manual-clock.ts';
export { startRelay } from './relay.ts';
export { storeContract } from './store-contract.ts';

export type { ClientUnderTest, Faults, OpenClient } from './client-contract.ts';
export type { ContractCase } from './contract.ts';
export type { Relay } from './relay.ts';
export type { StoreContractOptions, StoreUnderTest } from './store-contract.ts';
