"""What strangers may send to hurt: names, texts, answers and requests, all of a seed."""
