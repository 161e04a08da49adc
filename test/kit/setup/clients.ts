import { ensureClients } from '../../installs/clients/install.mjs';
import { once } from './once.ts';

/** Installs the other client libraries and their earlier versions. */
export default async function setup(): Promise<void> {
  await once('clients', ensureClients);
}
