"""The API function: signs at once where it can, accepts what it can't, and answers within two seconds."""
