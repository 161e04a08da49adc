const SLOTS = 16_384;

const CRC16 = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) {
    crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
  }
  return crc;
});

/**
 * The Redis Cluster slot of an ASCII key: CRC-16/XMODEM of the text between its first `{` and the next `}`, if not empty,
 * else of the whole key.
 * @see https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
 */
export function slotOf(key: string): number {
  const open = key.indexOf('{');
  const close = open === -1 ? -1 : key.indexOf('}', open + 1);
  const tagged = close > open + 1;
  const from = tagged ? open + 1 : 0;
  const to = tagged ? close : key.length;
  let crc = 0;
  for (let i = from; i < to; i++) {
    crc = ((crc << 8) & 0xffff) ^ CRC16[(crc >> 8) ^ key.charCodeAt(i)]!;
  }
  return crc % SLOTS;
}

/** The nodes that serve slots, '' for slots without a known node; undefined while no node is known. */
export function servingNodes(
  nodeOf: (slot: number) => string | undefined,
): ReadonlySet<string> | undefined {
  const nodes = new Set<string>();
  for (let slot = 0; slot < SLOTS; slot++) {
    nodes.add(nodeOf(slot) ?? '');
  }
  return nodes.size === 1 && nodes.has('') ? undefined : nodes;
}
