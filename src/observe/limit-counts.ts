/** Counts one limit's decisions. Its object is looked up once, when the limit becomes known, not at each decision. */
export class LimitCounts {
  allowed = 0;
  refused = 0;
  shadowRefused = 0;
  nearLimit = 0;
  leasesHeld = 0;
  bans = 0;
  shadowBans = 0;
  lends = false;
  mayBan = false;
  unit: string | undefined = undefined;
}
