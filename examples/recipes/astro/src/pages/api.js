let visitors = 0;

/** @type {import('astro').APIRoute} */
export const GET = () => {
  visitors += 1;
  return new Response(`hello, visitor ${visitors}`);
};
