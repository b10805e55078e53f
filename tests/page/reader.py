"""What a person does on the page, and what they see there."""

from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect


@dataclass
class Reader:
    """A person who reads the page. Everything is found by the words that they see or hear."""

    page: Page

    @property
    def field(self) -> Locator:
        """The field for the next message."""
        return self.page.get_by_role("form", name="Message").get_by_label("Your message")

    @property
    def turns(self) -> Locator:
        """The turns of the open conversation."""
        return self.page.get_by_role("article")

    @property
    def last(self) -> Locator:
        """The newest turn."""
        return self.turns.last

    @property
    def list(self) -> Locator:
        """The list of conversations."""
        return self.page.get_by_role("navigation", name="Conversations")

    def say(self, text: str) -> None:
        """Send a message."""
        self.field.fill(text)
        self.page.keyboard.press("Enter")

    def ask(self, text: str) -> Locator:
        """Send a message, and wait for the end of its answer, which is returned."""
        turns = self.turns.count()
        self.say(text)
        expect(self.turns).to_have_count(turns + 1)
        self.wait()
        return self.last

    def wait(self) -> None:
        """Wait until no answer is being written."""
        expect(self.page.get_by_role("button", name="Stop the answer")).to_have_count(0)

    def press(self, name: str, within: Locator | None = None) -> None:
        """Press the button with that name."""
        (within or self.page).get_by_role("button", name=name, exact=True).click()

    def choose(self, conversation: str, action: str) -> None:
        """Choose from the menu of a conversation in the list."""
        row = self.list.get_by_role("listitem").filter(has_text=conversation)
        row.hover()
        row.get_by_role("button").click()
        self.page.get_by_role("menuitem", name=action, exact=True).click()
