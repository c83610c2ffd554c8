"""Fetch the page as a customer would and see that it is the one just published."""

import os
import urllib.error
import urllib.request

import step

url, expected = os.environ["URL"], os.environ["EXPECTED"]
try:
    with urllib.request.urlopen(url, timeout=10) as answer:
        page = answer.read().decode()
except (urllib.error.URLError, OSError) as error:
    step.fail(f"{url} does not answer: {error}")
if expected not in page:
    step.fail(f"{url} does not show: {expected}")
print(f"{url} shows: {expected}")
