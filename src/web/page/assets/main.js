// The page: signs in, then shows the chat, or the form to sign in.

import { Chat } from "./chat.js";
import { find } from "./dom.js";
import { currentSession, signIn, signOut, takeSecret } from "./session.js";
import { SignIn } from "./signin.js";
import { themeButton } from "./theme.js";

const secret = takeSecret();
themeButton();

const leave = find("sign-out", HTMLButtonElement);
const form = new SignIn(() => enter());
const chat = new Chat(() => showForm("The session has ended. Sign in again: what you wrote is still here."));

leave.addEventListener("click", async () => {
  chat.hide({ forget: true });
  try {
    await signOut();
    showForm("You are signed out.");
  } catch {
    showForm("The server was not reached: the session may still be there. Close this browser, or try again later.");
  }
});

// A link that is opened where the page is open already only changes what follows the `#`.
addEventListener("hashchange", () => {
  const another = takeSecret();
  if (another !== null) void enterWith(another);
});

void (secret === null ? enter() : enterWith(secret));

/** @param {string} secret */
async function enterWith(secret) {
  const why = await signIn(secret);
  // A link that was used before is no harm to who is signed in.
  await enter(why === null ? undefined : `The link did not sign you in. ${why}`);
}

/** @param {string} [why] why the form is needed, should it be */
async function enter(why) {
  try {
    const session = await currentSession();
    if (session === null) {
      showForm(why);
      return;
    }
    form.hide();
    leave.hidden = false;
    chat.hide();
    chat.show(session);
  } catch {
    showForm("The server was not reached. Does mcp-chat run, and is your tunnel up?");
  }
}

/** @param {string} [why] */
function showForm(why) {
  chat.hide();
  leave.hidden = true;
  form.show(why);
}
