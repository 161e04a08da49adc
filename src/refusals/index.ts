export { publishRefusals } from './publish-refusals.ts';
export type { PublishRefusalsOptions, RefusalPublisher } from './publish-refusals.ts';
export type { PublishedRefusal, RefusalMessage } from './message.ts';
