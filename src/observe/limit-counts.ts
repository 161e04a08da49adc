/** What is counted of one limit. Its object is found once, when the limit becomes known, and not by each decision. */
export class LimitCounts {
  allowed = 0;
  refused = 0;
  shadowRefused = 0;
  nearLimit = 0;
  leasesHeld = 0;
  lends = false;
}
