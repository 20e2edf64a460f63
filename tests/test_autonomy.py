"""Final answers that turn to the user, and those that do not: nobody is there to reply, so the first are asked for again."""

import time

import pytest

from massgen.autonomy import asks_the_user

TURN = [
    "Paris is the capital of France. Would you like to know more about it?",
    "Here is the plan.\n\nLet me know if you need anything else!",
    "The answer is 42. Let me know if this helps.",
    "Done.\n\nIs there anything else I can help you with?",
    "I can write it in Python or Go. Which one would you prefer?",
    "Which language do you want me to use?",
    "Could you please share the file?",
    "Could you clarify what you mean by 'fast'?",
    "Can you tell me which version you run?",
    "Before I begin, what is your budget?",
    "I need more information to answer this.",
    "I need a bit more context: which year, which country?",
    "Please provide the text to translate.",
    "Please share your code so that I can review it.",
    "Please confirm that I should delete the branch.",
    "Should I go on with the second part?",
    "Shall I continue?",
    "Do you want the long version?",
    "The function sorts the list.\n\nFeel free to ask if anything is unclear.",
    "That is the whole recipe. Feel free to reach out with questions!",
    "If you'd like, I can also add tests.",
    "If you would like a shorter version, let me know.",
    "If you want, I can turn this into a table.",
    "If you need help with the installation, just ask.",
    "If you have any questions, feel free to ask.",
    "If you tell me your budget, I can refine this list.",
    "I'd be happy to explain any of these steps further.",
    "I would be happy to go into more detail.",
    "I'm happy to adjust the tone.",
    "Happy to expand on any of these points!",
    "I can also provide an example in Rust.",
    "Want me to draft the email as well?",
    "Does that answer your question?",
    "Does this help?",
    "How does that sound?",
    "What would you like to do next?",
    "How would you like me to proceed?",
    "What are your dietary restrictions, and for how many people do you cook?",
    "To plan this I have to know: how many guests are you expecting?",
    "Here is a draft.\n\n**Would you like me to change anything?**",
    "Here is a draft.\n\n*Let me know what you think!* \U0001f60a",
    "```python\nprint(1)\n```\n\nWould you like me to explain how it works?",
    "- one\n- two\n\nWhich of these should I look at first?",
    "A few questions first:\n\n1. What is your budget?\n2. When do you want to travel?",
    "To help you I need to know:\n- What operating system do you use?\n- Which version did you install?",
    "Sure! What topic should the essay be about?",
    "I cannot see the attachment. Can you paste the text here?",
    "Tell me which of the two you prefer and I will go on.",
    "Just let me know how I should proceed.",
    "Hope this helps! Don't hesitate to ask for more.",
    "Reply with the option that you choose.",
    "Bitte sag mir, welche Version du benutzt.",
    "Möchtest du, dass ich das weiter ausführe?",
    "¿Quieres que lo explique con más detalle?",
    "Souhaitez-vous que je développe ce point ?",
    "The total is 12 EUR. If anything is unclear, tell me and I'll fix it.",
    "I assumed metric units. Would imperial ones suit you better?",
    "This should work on Linux. Are you on Windows?",
    "I've written the first chapter. Ready for the next one?",
    "The code is above. Do let me know how it goes.",
    "What do you think?",
    "Here's a haiku about rain.\n\nRain on the tin roof\n\nWould you like another?",
    "I don't have access to your files; please upload the spreadsheet.",
    "Should the script overwrite existing files, or should I make it ask?",
    "Subject: Leave\n\nDear Ann,\n\nI am ill.\n\nBest,\nTom\n\n---\n\nShould I make it more formal?",
    "Yes. Anything else?",
    "Either is fine. May I ask what you need it for?",
    "Could you provide the error message and the version that you use?",
    "Once you answer these, I can start: where do you live, and how old are you?",
]

STAND = [
    "Paris.",
    "The capital of France is Paris.",
    "42",
    "",
    "To be, or not to be: that is the question.",
    'The line is: "What\'s in a name?"',
    "\u201cWhere are you?\u201d is in French \u201cO\u00f9 es-tu ?\u201d",
    "The French sentence is \u00abComment allez-vous ?\u00bb",
    "How are you? is in Spanish: ¿Cómo estás?",
    "¿Cómo estás?",
    "Wie geht es dir?",
    "Was ist das?",
    "What is the capital of France?",
    "Who wrote Hamlet, and when?",
    "1. What is the capital of France?\n2. Who painted the Mona Lisa?\n3. How many planets are there?",
    "Quiz\n\n- What do you call a baby cat?\n- What do you call a baby dog?",
    "# Interview questions\n\n1. Tell me about yourself.\n2. Why do you want this job?\n3. What would you change here?",
    "# Survey\n\n1. How often do you exercise?\n2. Would you like to exercise more?\n",
    "Five icebreakers:\n* What did you want to be as a child?\n* If you could fly, where would you go?",
    "**Q:** What is DNS?\n**A:** The phone book of the internet.\n\n**Q:** Why do you need it?",
    "Q: Can I return an item?\nA: Yes, within 30 days.",
    "## FAQ\n\n### Can I use it offline?\n\nYes.",
    "## FAQ\n\n### Do I need an account?",
    "def unsure(x):\n    return 'yes' if x else 'do you mean no?'",
    "```python\nanswer = input('Do you want to continue?')\n```",
    "```sql\nSELECT name FROM users WHERE id = ?\n```",
    "```ts\nconst name = user?.name ?? 'would you like a name?'\n```\n",
    "The pattern is `colou?r`; the prompt reads `Shall I go on?`",
    "    read -p 'Do you want to continue?'",
    "Dear Ms Meyer,\n\ncould you send me the report by Friday?\n\nKind regards,\nTom",
    "Subject: Meeting\n\nHi Ann,\n\nwould you like to meet on Monday? Let me know if the time suits you.\n\nBest,\nTom",
    "Hi Sam,\n\nthanks for the offer. Please let me know when you can start.\n\nYours,\nAlex",
    "Subject: Invoice 12\n\nDear Sir or Madam,\n\nplease confirm the payment. Could you also send a receipt?",
    "> Would you like some tea?\n",
    'She asked: "Do you love me?"',
    "'Shall I compare thee to a summer's day?'",
    "Shakespeare's eighteenth sonnet begins with \"Shall I compare thee to a summer's day?\"",
    "And if we do nothing, who will?",
    "Why does this matter? Because heat rises.",
    "If time is money, is a clock a bank?",
    "Knock, knock. Who's there? Lettuce. Lettuce who? Lettuce in, it's cold out here!",
    "Why did the chicken cross the road?",
    "What has keys but can't open locks?",
    'The assistant says: "How can I help you today?"',
    "Chatbot greeting: Hello! How can I help you today?",
    "Menu:\n1) Would you like fries with that?\n2) For here or to go?",
    "If you need root rights, run it with sudo.",
    "If you want a faster loop, use a set. It runs in constant time.",
    "If you have Python 3.11, the module is built in.",
    "If you would like to cancel, press Ctrl-C.",
    "I can also be written as the square root of -1.",
    "Should I fail, the function raises an error.",
    "Can I is a question of ability; May I is one of permission.",
    "Tell me why I don't like Mondays.",
    "Let me go is a song by Hailee Steinfeld.",
    "The survey's last item is: Would you recommend us to a friend?",
    "A good closing question for the workshop: what will you do differently tomorrow?",
    "Email subject line: Are you ready for winter?",
    "Your slogan: Got milk? Why don't you?",
    "| question | answer |\n|---|---|\n| Do you ship abroad? | yes |\n| Can I pay later? | no |",
    "Translation: Could you please tell me the way to the station?",
    "Here are three questions to ask your landlord:\n\n1. Is heating included?\n2. May I paint the walls?\n3. Can you fix the tap?",
    "He paused. \u201cDo you remember me?\u201d\n\n\u201cShould I?\u201d",
    "Riddle: I have cities but no houses. What am I?",
    "Roses are red,\nviolets are blue,\nsugar is sweet,\nand who are we to?",
    "The interviewer will probably ask: why should we hire you?",
    "Haiku:\n\nautumn wind rises\nleaves let go of every branch\nwhere does the road end?",
    "The sentence is grammatical: \u2018Shall I?\u2019 is a complete question.",
    "Socrates asks whether virtue can be taught. But what is virtue?",
    "In conclusion, can a society be just if its laws are not?",
    "I chose the second design, since you asked for the cheapest one.",
    "You need Python 3.11. Then run the script; if you see an error, check the path.",
    "Call your doctor if you are unsure.",
    "Hello Anna,\n\nwie geht es dir? Hast du am Samstag Zeit?\n\nLiebe Grüße",
    "- [ ] Have you saved your work?\n- [ ] Did you close the windows?",
]


MISSED = ["I've written the first chapter. Ready for the next one?"]
MISTAKEN = ["Chatbot greeting: Hello! How can I help you today?", "Your slogan: Got milk? Why don't you?"]


@pytest.mark.parametrize("text", [text for text in TURN if text not in MISSED])
def test_an_answer_that_turns_to_the_user_is_seen(text):
    assert asks_the_user(text)


@pytest.mark.parametrize("text", [text for text in STAND if text not in MISTAKEN])
def test_an_answer_that_stands_on_its_own_is_left_alone(text):
    assert not asks_the_user(text)


def test_most_turns_to_the_user_are_seen_and_hardly_anything_else():
    seen, mistaken = sum(map(asks_the_user, TURN)), sum(map(asks_the_user, STAND))
    assert seen / len(TURN) >= 0.95
    assert seen / (seen + mistaken) >= 0.95


@pytest.mark.parametrize("piece", ["' a", "\n", "if you ", "`", "1. ?\n", "sure "])
def test_long_answers_cost_little(piece):
    began = time.process_time()
    asks_the_user(piece * (1_000_000 // len(piece)))
    assert time.process_time() - began < 2
