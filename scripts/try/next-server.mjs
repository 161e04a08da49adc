/** Builds and starts a project's Next.js. */

const ENV = { NEXT_TELEMETRY_DISABLED: '1' };
const FREE_PORT = ['--port', '0', '--hostname', '127.0.0.1'];

/** What a project with Next.js needs. */
export const NEXT_PACKAGES = [
  'next',
  'react',
  'react-dom',
  'typescript@5.9.3',
  '@types/react',
  '@types/node',
];

export const LAYOUT = `
import type { ReactNode } from 'react';

export default function Layout({ children }: { children: ReactNode }) {
  return <html><body>{children}</body></html>;
}
`;

/**
 * @param {import('./project.mjs').Project} project
 * @param {readonly string[]} flags
 * @param {Record<string, string>} [env]
 */
export function buildNext(project, flags, env) {
  return project.run(['next', 'build', ...flags], { env: { ...ENV, ...env } });
}

/**
 * @param {import('./project.mjs').Project} project
 * @param {readonly string[]} command `['start']`, or `['dev']` and its flags
 * @param {Record<string, string>} [env]
 */
export async function serveNext(project, command, env) {
  const running = project.start(['next', ...command, ...FREE_PORT], { ...ENV, ...env });
  // A development server is a child of this process, and ends only with a signal that this process hears of.
  const close = () => {
    running.signal('SIGTERM');
    return running.exitCode;
  };
  try {
    const [url = ''] = await running.printed(/http:\/\/127\.0\.0\.1:[1-9]\d*/);
    await running.printed(/Ready/);
    return { url, output: running.output, close };
  } catch (error) {
    await close();
    throw error;
  }
}
