"""Looking at datasets: the web page with its server, and contact sheets."""
