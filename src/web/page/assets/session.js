// Who is signed in. The session's secret is this tab's alone: a cookie would be sent to every port of the host.

/** @typedef {{user: string, role: string, host: string, version: string, expires: string}} Session */

const SIGN_IN = "#sign-in=";
const KEY = "session";

/** The secret, where the browser keeps nothing for this page. */
let kept = "";

/** @param {string} secret empty: there is none any longer */
function keep(secret) {
  kept = secret;
  try {
    if (secret === "") sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, secret);
  } catch {
    // It lasts until the page is loaded again.
  }
}

/** The session's secret; empty where nobody is signed in. */
export function sessionSecret() {
  try {
    return sessionStorage.getItem(KEY) ?? kept;
  } catch {
    return kept;
  }
}

/** @returns {Record<string, string>} */
function authorization() {
  return { authorization: `Bearer ${sessionSecret()}` };
}

/**
 * The secret in the address, as `op-dbus chat open` prints it. It is taken out of the address bar and the history.
 *
 * @returns {string | null}
 */
export function takeSecret() {
  if (!location.hash.startsWith(SIGN_IN)) return null;
  const secret = location.hash.slice(SIGN_IN.length);
  history.replaceState(null, "", location.pathname + location.search);
  return secret;
}

/**
 * Signs in with a secret or a token.
 *
 * @param {string} secret
 * @returns {Promise<string | null>} why not, or null
 */
export async function signIn(secret) {
  let answer;
  try {
    answer = await fetch("/sign-in", {
      method: "POST",
      headers: { "content-type": "text/plain" },
      body: secret,
      cache: "no-store",
    });
  } catch {
    return "The server was not reached. Does mcp-chat run, and is your tunnel up?";
  }
  if (answer.ok) {
    keep((await answer.json()).token);
    return null;
  }
  if (answer.status === 401) {
    return "It is not valid: mistyped, revoked, or a link that was used or is too old.";
  }
  if (answer.status === 403) {
    return "The server does not know the address that this page was opened at. Open it as op-dbus chat open prints it.";
  }
  if (answer.status === 429) return "Too many attempts. Wait a minute, then try again.";
  return `The server answered ${answer.status}. Its log says more: journalctl -u mcp-chat.`;
}

/** Ends the session. */
export async function signOut() {
  const headers = authorization();
  keep("");
  await fetch("/sign-out", { method: "POST", headers, cache: "no-store" });
}

/**
 * The session, or null where nobody is signed in.
 *
 * @returns {Promise<Session | null>}
 * @throws where the server was not reached or failed
 */
export async function currentSession() {
  if (sessionSecret() === "") return null;
  const answer = await fetch("/session", { headers: authorization(), cache: "no-store" });
  if (answer.status === 401) {
    keep("");
    return null;
  }
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.json();
}
