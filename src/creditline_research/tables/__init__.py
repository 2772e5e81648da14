"""Results of benchmarks and studies as Markdown tables."""
