import type { Mutant as AnyMutant } from '../mutants.ts';

/** A plausible mistake, and the test that has to notice it. */
export interface Mutant extends AnyMutant {
  readonly shownBy: 'calls' | 'reservations';
}

/** Mistakes in TypeScript. */
export const MUTANTS: Readonly<Record<string, Mutant>> = {
  'charges only the first home': {
    file: 'script/decide.ts',
    replaces: '        changed.add(keyOf[i]!);\n',
    by: '        if (keyOf[i] === keyOf[0]) changed.add(keyOf[i]!);\n',
    shownBy: 'calls',
  },
  'reads the block of the first home only': {
    file: 'limiter/limit-set.ts',
    replaces: 'this.space === undefined ? [undefined] : this.#blockable;',
    by: 'this.space === undefined ? [undefined] : this.#blockable.slice(0, 1);',
    shownBy: 'calls',
  },
  'charges every limit the units of the first': {
    file: 'limiter/limit-set.ts',
    replaces: 'limit.plan(decides ? (units ?? 0) : 1, nowMs)',
    by: 'limit.plan(decides ? (askedOf(this.limits[0]!, asked) ?? 0) : 1, nowMs)',
    shownBy: 'calls',
  },
  'refunds every limit the units of the first': {
    file: 'script/call-shape.ts',
    replaces: 'const asks = rules.map((rule) => (rule.units === undefined ? units : rule.units));',
    by: `const asks = rules.map((rule) =>
    rule.units === undefined ? units : verb === 'refund' ? rules[0]!.units! : rule.units);`,
    shownBy: 'calls',
  },
  'charges one home although another refuses': {
    file: 'script/verbs.ts',
    replaces: `    if (judge(held, now)) {
      charge(held, now);
    }
    refuse(held, now);
    countForBans(held, now);
    return [];
  },

  peek(`,
    by: `    judge(held, now);
    charge(held, now);
    refuse(held, now);
    countForBans(held, now);
    return [];
  },

  peek(`,
    shownBy: 'calls',
  },
  'puts every limit in the first home': {
    file: 'limiter/limit-set.ts',
    replaces: 'home: this.#homeAt(limit.by),',
    by: 'home: 0,',
    shownBy: 'calls',
  },
  "puts the limits of a plan in the first home of the limiter's own": {
    file: 'limiter/limit-set.ts',
    replaces: 'const keys = homeKeys(this.space, limits.homes, parts, secret);',
    by: `const homes = limits.homes.length > 0 && this.#blockable[0]!.every((part) => parts.get(part) !== null)
      ? [this.#blockable[0]!, ...limits.homes.slice(1)]
      : limits.homes;
    const keys = homeKeys(this.space, homes, parts, secret);`,
    shownBy: 'calls',
  },
  'counts a plan beside a limit that counts by other parts': {
    file: 'limiter/limit-set.ts',
    replaces:
      'limit.name === name && limit.algorithm === algorithm && isSameBy(limit.by ?? [], by),',
    by: 'limit.name === name && limit.algorithm === algorithm && by !== undefined,',
    shownBy: 'calls',
  },
  'consults a limit although one of its parts is null': {
    file: 'limiter/limit-set.ts',
    replaces: 'by.every((part) => parts.get(part) !== null);',
    by: "by.every((part) => parts.get(part) !== null || (parts as Map<string, string>).set(part, 'null'));",
    shownBy: 'calls',
  },
  'keeps all homes of one tag under one key': {
    file: 'limiter/homes.ts',
    replaces: 'homes.map((by) => head + (by.length === tagged.length ? ofTag : digestOf(by)));',
    by: 'homes.map(() => head + ofTag);',
    shownBy: 'calls',
  },
  'settles by position instead of by name': {
    file: 'limiter/limit-set.ts',
    replaces: 'const units = this.limits.map((limit) => askedOf(limit, asked) ?? null);',
    by: 'const units = this.limits.map((_, i) => Object.values((asked as NamedCost).byName)[i] ?? null);',
    shownBy: 'reservations',
  },
  'gives back units that a settlement leaves out': {
    file: 'script/verbs.ts',
    replaces: "const actual = text === '-' ? estimate : Number(text);",
    by: "const actual = text === '-' ? 0 : Number(text);",
    shownBy: 'reservations',
  },
  'settles a second time': {
    file: 'script/verbs.ts',
    replaces: '    record.settled = true;\n    record.told = told;\n    record.pieces = [];\n',
    by: '    record.settled = isHeld === false;\n    record.told = told;\n',
    shownBy: 'reservations',
  },
  'charges an add again when it is resent': {
    file: 'script/verbs.ts',
    replaces: 'if (isAdded(record.adds, add!)) {',
    by: 'if (record.adds === undefined) {',
    shownBy: 'reservations',
  },
  'refuses an add by a limit that it does not ask': {
    file: 'script/verbs.ts',
    replaces: 'rule.limit.twin.judge(rule.state, rule.plan, now) || !rule.asked;',
    by: 'rule.limit.twin.judge(rule.state, rule.plan, now);',
    shownBy: 'reservations',
  },
  'charges a resent reservation again': {
    file: 'script/verbs.ts',
    replaces: 'const again = record.ends > now;',
    by: 'const again = record.ends > now + 1e15;',
    shownBy: 'reservations',
  },
};

/** Mistakes in Lua, which the TypeScript twin does not make. */
export const LUA_MUTANTS: Readonly<Record<string, Mutant>> = {
  'charges only the first home': {
    file: 'script/decide.lua',
    replaces: '      changed(slot)\n      if home then',
    by: '      if slot == slot_of(entry, 1) then\n        changed(slot)\n      end\n      if home then',
    shownBy: 'calls',
  },
  'looks for every state in the first home': {
    file: 'script/decide.lua',
    replaces: 'return slots[KEYS[entry.key + entry.shape[l].key_at - 1]]',
    by: 'return slots[KEYS[entry.key + (entry.shape[l].id and 1 or entry.shape[l].key_at) - 1]]',
    shownBy: 'calls',
  },
  'reads the block of the first home only': {
    file: 'script/decide.lua',
    replaces: '    entry[l] = state\n',
    by: '    entry[l] = state\n    entry.block = entry.block or not plan.id and state\n    entry[l] = plan.id and state or entry.block\n',
    shownBy: 'calls',
  },
  "takes the first limit's units for all": {
    file: 'script/call-shape.lua',
    replaces: 'plan.asks = tonumber(asks()) or false',
    by: 'plan.asks = tonumber(asks()) or false\n      plan.asks = shape[1] and shape[1].asks or plan.asks',
    shownBy: 'calls',
  },
  'charges one home although another refuses': {
    file: 'script/verbs.lua',
    replaces:
      '  if judge(entry) then\n    charge(entry)\n  end\n  refuse(entry)\n  count_for_bans(entry)\nend\n\nfunction verbs.up_to',
    by: '  judge(entry)\n  charge(entry)\n  refuse(entry)\n  count_for_bans(entry)\nend\n\nfunction verbs.up_to',
    shownBy: 'calls',
  },
  'settles by position instead of by limit': {
    file: 'script/verbs.lua',
    replaces: 'tonumber(actuals[#actuals == 1 and 1 or l])',
    by: 'tonumber(actuals[1])',
    shownBy: 'reservations',
  },
  'gives back units that a settlement leaves out': {
    file: 'script/verbs.lua',
    replaces: 'tonumber(actuals[#actuals == 1 and 1 or l]) or estimate',
    by: 'tonumber(actuals[#actuals == 1 and 1 or l]) or 0',
    shownBy: 'reservations',
  },
  'charges an add again when it is resent': {
    file: 'script/verbs.lua',
    replaces: 'if reserved.algorithm.is_added(reserved.adds, add) then',
    by: 'if not reserved.adds then',
    shownBy: 'reservations',
  },
  'refuses an add by a limit that it does not ask': {
    file: 'script/verbs.lua',
    replaces: 'plan.algorithm.judge(entry[l], plan) or not plan.asks',
    by: 'plan.algorithm.judge(entry[l], plan)',
    shownBy: 'reservations',
  },
  'charges a resent reservation again': {
    file: 'script/verbs.lua',
    replaces: 'local passes, again = judge(entry), reserved.ends > now',
    by: 'local passes, again = judge(entry), false',
    shownBy: 'reservations',
  },
};
