/**
 * Unpacks a package of any suite of Debian, with the libraries it needs, into a folder. Nothing of the system changes:
 * apt gets lists and a cache of its own, and `dpkg` only unpacks.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** How a source of Debian's own names its suite. Updates, backports and sources of others have other names. */
const SUITE = /^(?:(?:old){0,2}stable|testing|unstable|buster|bullseye|bookworm|trixie|forky|sid)$/;
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * The packages of one suite.
 *
 * @typedef {object} Suite
 * @property {(name: string) => string | undefined} versionOf the version of a package; undefined: the suite has none
 * @property {(name: string, wanted: RegExp, folder: string) => void} unpack unpacks a package, and those of the packages
 *   it depends on whose names match
 * @property {() => void} close
 */

/**
 * @param {string} name `trixie`
 * @returns {Suite}
 * @throws where there is no apt, no source of Debian, no such suite, or no network
 */
export function openSuite(name) {
  const mirror = mirrorOfDebian();
  const architecture = run('dpkg', ['--print-architecture']).trim();
  const folder = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-apt-'));
  const close = () => rmSync(folder, { recursive: true, force: true });
  const own = (/** @type {string} */ file) => path.join(folder, file);
  for (const each of ['lists/partial', 'cache/archives/partial', 'packages']) {
    mkdirSync(own(each), { recursive: true });
  }
  // Nothing counts as installed, so that every library comes along.
  writeFileSync(own('status'), '');
  const signed = existsSync(KEYRING) ? ` signed-by=${KEYRING}` : '';
  writeFileSync(
    own('sources.list'),
    `deb [arch=${architecture}${signed}] ${mirror} ${name} main\n`,
  );
  const options = [
    `Dir::Etc::SourceList=${own('sources.list')}`,
    'Dir::Etc::SourceParts=/dev/null',
    'Dir::Etc::Preferences=/dev/null',
    'Dir::Etc::PreferencesParts=/dev/null',
    `Dir::State=${folder}`,
    `Dir::State::Lists=${own('lists')}`,
    `Dir::State::Status=${own('status')}`,
    `Dir::Cache=${own('cache')}`,
    'Acquire::Languages=none',
    'Acquire::Retries=3',
    'APT::Default-Release=',
    'APT::Install-Recommends=false',
    // apt's own user may not write into a folder of ours. Packages are checked by their signed hashes all the same.
    'APT::Sandbox::User=',
  ].flatMap((option) => ['-o', option]);
  const apt = (/** @type {readonly string[]} */ ...args) =>
    run('apt-get', ['-qq', ...options, ...args], own('packages'));

  try {
    apt('update');
  } catch (error) {
    close();
    throw error;
  }
  return {
    versionOf: (wanted) =>
      /^Version: (.+)$/m.exec(
        spawnSync('apt-cache', [...options, 'show', '--no-all-versions', wanted], {
          encoding: 'utf8',
        }).stdout,
      )?.[1],
    unpack: (wanted, pattern, target) => {
      const names = [...apt('--simulate', 'install', wanted).matchAll(/^Inst (\S+)/gm)]
        .map(([, each = '']) => each)
        .filter((each) => pattern.test(each));
      apt('download', ...names);
      for (const file of readdirSync(own('packages'))) {
        run('dpkg', ['--extract', path.join(own('packages'), file), target]);
        rmSync(path.join(own('packages'), file));
      }
    },
    close,
  };
}

/** @returns {string} the address from which this machine has its own packages */
function mirrorOfDebian() {
  const format = '$(CREATED_BY) $(COMPONENT) $(RELEASE) $(REPO_URI)';
  for (const line of run('apt-get', ['indextargets', '--format', format]).split('\n')) {
    const [createdBy, component, release = '', uri] = line.split(' ');
    if (createdBy === 'Packages' && component === 'main' && SUITE.test(release) && uri) return uri;
  }
  throw new Error('apt has no source of Debian here');
}

/**
 * @param {string} program
 * @param {readonly string[]} args
 * @param {string} [cwd]
 */
function run(program, args, cwd) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    ...(cwd !== undefined && { cwd }),
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (error) throw new Error(`there is no ${program} here`, { cause: error });
  if (status !== 0) {
    const said = stderr.trim().split('\n').slice(0, 3).join('\n');
    throw new Error(`${program} ${args.at(-1)} failed: ${said}`);
  }
  return stdout;
}
