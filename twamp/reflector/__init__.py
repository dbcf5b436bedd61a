"""The responder, twampd."""
