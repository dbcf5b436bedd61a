"""twampctl, which shows and checks a running responder."""
