"""A board that is nothing but the bedside app: its systemd unit, its rules, and the word that it is still alive."""
