"""Mail: messages as the net carries them (EML), and as Outlook keeps them (MSG)."""
