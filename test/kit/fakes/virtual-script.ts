import { assemble } from '../../../scripts/build-lua.mjs';

const ARGUMENT_CLOCK = `--[[
  A clock that the caller sets: the script that production runs, at any instant.

  In:   ARGV  whole microseconds since the Unix epoch, last; taken off, so that the driver sees its own arguments
  Out:  now   the same
]]
local now = tonumber(table.remove(ARGV))
`;

/** The production script with a virtual clock: the last element of ARGV. `replaced`: text by the name of an include. */
export function virtualScriptWith(
  replaced: Readonly<Record<string, string>> = {},
): ReturnType<typeof assemble> {
  return assemble({ ...replaced, 'script/clock': ARGUMENT_CLOCK });
}

export const virtualScript: ReturnType<typeof assemble> = virtualScriptWith();
