"""Files that last: replaced whole or not at all, and able to tell whether they are what was written."""
