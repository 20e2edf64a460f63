"""A recorded session once more: shown (`replaying`), held against the rules (`verifying`), played by agents (`restaging`)."""
