/** The `tokenizer_config.json` beside a `tokenizer.json` of ours. */

/** For transformers: the file as it is, with T5's specials by their names. */
export function tokenizerSettings(sentinels: number): object {
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    pad_token: "<pad>",
    eos_token: "</s>",
    unk_token: "<unk>",
    additional_special_tokens: Array.from({ length: sentinels }, (_, i) => `<extra_id_${i}>`),
    extra_ids: sentinels,
    clean_up_tokenization_spaces: false,
    model_max_length: 512,
  };
}
