"""metarec_sdk: recommendations that fit every segment and every new user after a handful of events."""
