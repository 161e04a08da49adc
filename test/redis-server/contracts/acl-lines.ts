import { readFileSync } from 'node:fs';

/** The ACL lines of SECURITY.md, for the keys of the contract's namespaces. */

const security = readFileSync(new URL('../../../SECURITY.md', import.meta.url), 'utf8');

/** The rights that SECURITY.md names on the line that begins so. */
function added(beginning: string): readonly string[] {
  const line = security.split('\n').find((each) => each.trimStart().startsWith(`- ${beginning}`));
  const rights = /`(\+[^`]+)`/.exec(line ?? '')?.[1]?.split(' ');
  if (rights === undefined) throw new Error(`SECURITY.md has no rights for: ${beginning}`);
  return rights;
}

/** `limiter on >password … +eval`, as `ACL SETUSER` takes it. */
export const LINE = (/ACL SETUSER (limiter on >password .+)/.exec(security)?.[1] ?? '').replaceAll(
  'myapp:*',
  'contract-*',
);
/** The line's keys and commands: what it grants. */
export const GRANTED = LINE.split(' ').filter((each) => /^[~+]/.test(each));
export const SORTED_SETS = added('`slidingWindowLog` or `concurrency`');
export const CLUSTER = added('A cluster');

/** What logs in. */
export const LOGIN = { username: 'limiter', password: 'password' };
