"""What screens are made of. Every one of them makes text from files safe before it is drawn."""
