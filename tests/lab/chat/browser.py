"""An admin at the chat, in a real browser: signs in by the link, creates a container, deletes it, and looks around.

browser.py LINK DIRECTORY: ends with status 1 where something is not as it should be; leaves screenshots in DIRECTORY.
"""

import pathlib
import sys
import tempfile
import time

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

LINK, SHOTS = sys.argv[1], pathlib.Path(sys.argv[2])
SIZES = {"phone": (390, 844), "desk": (1280, 800)}
PATIENCE = 60


def browser(profile):
    options = webdriver.ChromeOptions()
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


class Chat:
    """The page, as somebody uses it."""

    def __init__(self, driver):
        self.driver = driver

    def wait(self, what, condition, patience=PATIENCE):
        try:
            return WebDriverWait(self.driver, patience, 0.05).until(condition)
        except Exception as error:
            self.shot("failed")
            raise SystemExit(f"not seen: {what} ({type(error).__name__})\n{self.text()[-3000:]}") from error

    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def of_type(self, kind):
        return self.driver.find_elements(By.CSS_SELECTOR, f'[data-type="{kind}"]')

    def say(self, sentence):
        field = self.driver.find_element(By.ID, "message")
        field.send_keys(sentence)
        field.send_keys(Keys.ENTER)

    def newest(self, kind, count, contains=""):
        """The newest message of a type, once there are more than `count`, and it has a text."""
        def seen(_):
            all_of = self.of_type(kind)
            return len(all_of) > count and contains in all_of[-1].text and all_of[-1]
        return self.wait(f"{kind} with {contains!r}", seen)

    def shot(self, name):
        for size, (width, height) in SIZES.items():
            self.driver.set_window_size(width, height)
            time.sleep(0.2)
            self.driver.save_screenshot(str(SHOTS / f"chat-{name}-{size}.png"))

    def seen(self, what):
        print(f"seen: {what};", flush=True)


def main():
    with tempfile.TemporaryDirectory() as profile:
        driver = browser(profile)
        try:
            run(Chat(driver))
            # Of the browser itself: what the policy blocked, scripts that failed. It was not signed in when it first asked.
            bad = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
            bad = [message for message in bad if "401" not in message]
            if bad:
                raise SystemExit("the browser complains: " + "\n".join(bad))
        finally:
            driver.quit()


def run(chat):
    driver = chat.driver
    driver.set_window_size(*SIZES["desk"])
    driver.get(LINK.split("#")[0])
    chat.wait("the form to sign in", lambda _: "op-dbus chat open" in chat.text())
    chat.shot("sign-in")
    driver.get("about:blank")
    driver.get(LINK)
    chat.wait("who is signed in", lambda _: "member" in chat.text())
    if "sign-in" in driver.current_url:
        raise SystemExit("the secret is still in the address bar")
    chat.seen("signed in")

    for sentence in ("show me all containers", "status of systemd services"):
        count = len(chat.of_type("assistant"))
        chat.say(sentence)
        chat.newest("assistant", count)
    chat.wait("a table", lambda _: driver.find_elements(By.CSS_SELECTOR, "table td"))
    chat.seen("containers and services")

    count = len(chat.of_type("assistant"))
    chat.say("create debian container named db-01 with socket networking")
    answer = chat.newest("assistant", count, "db-01")
    if "op-dbus container create db-01 --template debian-base --network socket" not in chat.text():
        raise SystemExit(f"the command is not shown: {answer.text}")
    chat.seen("the command, and the container")
    chat.shot("created")

    count = len(chat.of_type("confirm"))
    chat.say("delete db-01")
    question = chat.newest("confirm", count, "db-01")
    chat.shot("confirm")
    buttons = question.find_elements(By.CSS_SELECTOR, '[data-action="keep"]')
    buttons[0].click()
    time.sleep(1)
    count = len(chat.of_type("assistant"))
    chat.say("show container db-01")
    chat.newest("assistant", count, "db-01")
    chat.seen("asked before, and kept")

    count, answers = len(chat.of_type("confirm")), len(chat.of_type("assistant"))
    chat.say("delete db-01")
    question = chat.newest("confirm", count, "db-01")
    question.find_elements(By.CSS_SELECTOR, '[data-action="confirm"]')[0].click()
    chat.newest("assistant", answers)
    chat.seen("deleted")

    count = len(chat.of_type("assistant"))
    chat.say("what containers were created today?")
    chat.newest("assistant", count, "db-01")
    chat.seen("found in the ledger")
    chat.shot("search")

    count = len(chat.of_type("unclear"))
    chat.say("please rm -rf / && delete everything")
    chat.newest("unclear", count)
    chat.seen("what is not understood does nothing")
    width = driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    driver.set_window_size(*SIZES["phone"])
    if width > 0:
        raise SystemExit(f"the page is {width} px wider than its window")


main()
